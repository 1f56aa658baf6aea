//! The kernel's command line.
//!
//! What is said here by default, and why, is told in docs/kernels.md; `--stock-boot` leaves out
//! everything that skips work the kernel would do by itself.

/// Needed whatever the user wants: an early console that is silent until there is something to
/// report, an end instead of a hang after a panic, and the whole log printed by it.
const ALWAYS: &[&str] = &["panic=-1", "panic_print=0x20", "console=ttyS0"];

/// No message is printed unless it is an emergency: each character costs an exit from the guest.
/// They are all kept in the kernel's log buffer.
const QUIET: &[&str] = &["earlyprintk=ttyS0,115200", "quiet", "loglevel=1"];

const LIVE: &[&str] = &["earlyprintk=ttyS0,115200", "ignore_loglevel"];

/// What makes a start fast: self-tests, probes and waits that have no purpose in a machine whose
/// every device is known.
const FAST: &[&str] =
    &["cryptomgr.notests", "no_timer_check", "tsc=reliable", "8250.nr_uarts=1", "random.trust_cpu=on"];

/// The words of the command line, the user's own last, so that they win.
pub fn command_line(live: bool, stock: bool, user: &[String]) -> String {
    let fast = if stock { &[] } else { FAST };
    let console = if live { LIVE } else { QUIET };
    let words: Vec<&str> = [ALWAYS, console, fast]
        .into_iter()
        .flatten()
        .copied()
        .chain(user.iter().map(String::as_str))
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_words_come_last_and_stock_skips_nothing() {
        let line = command_line(false, false, &["a=1".into(), "b".into()]);
        assert!(line.ends_with(" a=1 b") && line.contains("cryptomgr.notests") && line.contains("quiet"));
        let line = command_line(true, true, &[]);
        assert!(!line.contains("notests") && !line.contains("quiet") && line.contains("ignore_loglevel"));
    }
}
