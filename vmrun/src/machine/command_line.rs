//! The kernel's command line.
//!
//! What is said here by default, and why, is told in docs/kernels.md; `--stock-boot` leaves out
//! everything that skips work the kernel would do by itself.

/// Needed whatever the user wants: a console for what a dying kernel has to say, from its first
/// moments on (`earlycon`, which unlike `earlyprintk` says nothing of itself), an end instead of a
/// hang after a panic, and the whole log printed by it.
const ALWAYS: &[&str] = &["console=ttyS0", "earlycon=uart8250,io,0x3f8", "panic=-1", "panic_print=0x20"];

/// No message is printed unless it is an emergency: each character costs an exit from the guest.
/// They are all kept in the kernel's log buffer.
const QUIET: &[&str] = &["loglevel=1"];

const LIVE: &[&str] = &["ignore_loglevel"];

/// What makes a start fast: self-tests, probes and waits that have no purpose in a machine whose
/// every device is known.
const FAST: &[&str] = &[
    "cryptomgr.notests",
    "no_timer_check",
    "tsc=reliable",
    "8250.nr_uarts=1",
    "random.trust_cpu=on",
    "pci=off",
    // Looks up every traceable function to hide those that were linked out: 150 of 810 "ms".
    "initcall_blacklist=ftrace_check_for_weak_functions",
];

/// The words of the command line, the user's own last, so that they win.
pub fn command_line(live: bool, stock: bool, user: &[String]) -> String {
    let fast = if stock { &[] } else { FAST };
    let console = if live { LIVE } else { QUIET };
    let words: Vec<&str> = [console, ALWAYS, fast]
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
        assert!(
            line.ends_with(" a=1 b") && line.contains("cryptomgr.notests") && line.starts_with("loglevel=1 ")
        );
        let line = command_line(true, true, &[]);
        assert!(
            !line.contains("notests") && !line.starts_with("loglevel=1 ") && line.contains("ignore_loglevel")
        );
    }
}
