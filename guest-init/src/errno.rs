//! The error of the C library's last failed call.

use rustix::io::Errno;

/// `errno`, as rustix has it.
pub fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
