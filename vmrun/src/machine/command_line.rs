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

/// QEMU 7.2 emulates CMPXCHG16B with flags that are garbage (VM and all) until the next instruction
/// that sets them. Where an interrupt comes before that, a kernel that branches at once, as newer slab
/// allocators do, dies. So the kernel does without (feature 4*32+13); programs still see it, for
/// some C libraries want it.
const WITHOUT_CMPXCHG16B: &[&str] = &["clearcpuid=141"];

/// The last version that sets the flags anew before it branches.
const LAST_UNHURT: (u32, u32) = (6, 1);

/// The words of the command line, the user's own last, so that they win. `version` is the kernel's,
/// `emulated` says that the processor is QEMU's emulation.
pub fn command_line(live: bool, stock: bool, version: &str, emulated: bool, user: &[String]) -> String {
    let fast = if stock { &[] } else { FAST };
    let emulated = if emulated && release(version) > LAST_UNHURT { WITHOUT_CMPXCHG16B } else { &[] };
    let console = if live { LIVE } else { QUIET };
    let words: Vec<&str> = [console, ALWAYS, fast, emulated]
        .into_iter()
        .flatten()
        .copied()
        .chain(user.iter().map(String::as_str))
        .collect();
    words.join(" ")
}

/// The first two numbers of a version such as `6.12.95-cloud-amd64`.
fn release(version: &str) -> (u32, u32) {
    let mut numbers = version.split(['.', '-', '+']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_words_come_last_and_stock_skips_nothing() {
        let line =
            command_line(false, false, "6.12.95+deb12-cloud-amd64", false, &["a=1".into(), "b".into()]);
        assert!(
            line.ends_with(" a=1 b") && line.contains("cryptomgr.notests") && line.starts_with("loglevel=1 ")
        );
        let line = command_line(true, true, "6.12.95+deb12-cloud-amd64", true, &[]);
        assert!(
            line.ends_with(" clearcpuid=141")
                && !line.contains("notests")
                && !line.starts_with("loglevel=1 ")
                && line.contains("ignore_loglevel")
        );
    }

    #[test]
    fn only_newer_kernels_go_without_an_instruction_when_they_are_emulated() {
        assert!(!command_line(false, false, "6.1.0-56-cloud-amd64", true, &[]).contains("clearcpuid"));
        assert!(command_line(false, false, "6.5", true, &[]).contains("clearcpuid"));
        assert!(command_line(false, false, "7.0-rc1", true, &[]).contains("clearcpuid"));
        assert!(!command_line(false, false, "7.0-rc1", false, &[]).contains("clearcpuid"));
    }
}
