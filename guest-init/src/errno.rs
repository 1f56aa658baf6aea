//! The errors of system calls.

use rustix::io::Errno;

/// The error of the C library's last failed call, as rustix has it.
pub fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// An error's text without the number that Rust puts behind it.
pub fn in_words(error: &impl ToString) -> String {
    let mut text = error.to_string();
    if let Some(end) = text.rfind(" (os error ") {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_said_in_words() {
        assert_eq!(in_words(&Errno::NOENT), "No such file or directory");
        assert_eq!(in_words(&"plain"), "plain");
    }
}
