//! The kernel's command line.
//!
//! What is said here by default, and why, is told in docs/kernels.md; `--stock-boot` leaves out
//! everything that skips work the kernel would do by itself.

use vmm::cmdline::platform_options;
use vmm::{Firmware, Transport};

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
const FAST: &[&str] =
    &["cryptomgr.notests", "no_timer_check", "tsc=reliable", "8250.nr_uarts=1", "random.trust_cpu=on"];

/// Looks up every traceable function to hide those that were linked out: 150 of 810 "ms". Where there is none to look
/// up, the word would only cost: a kernel with one looks up the name of each of its initcalls.
const WITHOUT_LOOKING_AT_FUNCTIONS: &[&str] = &["initcall_blacklist=ftrace_check_for_weak_functions"];

/// QEMU 7.2 emulates CMPXCHG16B with flags that are garbage (VM and all) until the next instruction
/// that sets them. Where an interrupt comes before that, a kernel that branches at once, as newer slab
/// allocators do, dies. So the kernel does without (feature 4*32+13); programs still see it, for
/// some C libraries want it.
const WITHOUT_CMPXCHG16B: &[&str] = &["clearcpuid=141"];

/// The last version that sets the flags anew before it branches.
const LAST_UNHURT: (u32, u32) = (6, 1);

/// Nor does QEMU 7.2 tell KVM that a guest has set XCR0, so that CPUID gives too small a size for what
/// XSAVE saves. Kernels up to the first of these do not notice, and then refuse to return from a signal. Those up to
/// the second notice, warn, and do without it; newer ones crash when they do (seen with 7.2).
const WITHOUT_XSAVE: &[&str] = &["noxsave"];
const LAST_WITHOUT_CHECK: (u32, u32) = (5, 15);
const LAST_THAT_COPES: (u32, u32) = (6, 15);

/// What the command line depends on beside the user's own words.
#[derive(Debug, Clone, Copy)]
pub struct Boot {
    pub firmware: Firmware,
    pub transport: Transport,
    /// The first two numbers of the kernel's version.
    pub release: (u32, u32),
    /// The kernel can trace its functions, or may.
    pub traces_functions: bool,
    /// The processor is QEMU's emulation.
    pub emulated: bool,
    /// Messages are shown while the machine runs.
    pub live: bool,
    /// The kernel starts as its distribution starts it.
    pub stock: bool,
}

/// The words of the command line, the user's own last, so that they win.
pub fn command_line(boot: Boot, user: &[String]) -> String {
    let Boot { firmware, transport, release, traces_functions, emulated, live, stock } = boot;
    let fast = if stock { &[] } else { FAST };
    let functions = if traces_functions && !stock { WITHOUT_LOOKING_AT_FUNCTIONS } else { &[] };
    let on_emulation = |is_hurt: bool, words: &'static [&str]| if emulated && is_hurt { words } else { &[] };
    let cmpxchg16b = on_emulation(release > LAST_UNHURT, WITHOUT_CMPXCHG16B);
    let xsave = on_emulation(release <= LAST_WITHOUT_CHECK || release > LAST_THAT_COPES, WITHOUT_XSAVE);
    let console = if live { LIVE } else { QUIET };
    let words: Vec<&str> =
        [console, ALWAYS, &platform_options(firmware, transport), fast, functions, cmpxchg16b, xsave]
            .into_iter()
            .flatten()
            .copied()
            .chain(user.iter().map(String::as_str))
            .collect();
    words.join(" ")
}

/// The user's word that would take from the kernel its way to all devices, if there is one: such a machine would start,
/// and be heard of no more.
pub fn contradiction(firmware: Firmware, transport: Transport, user: &[String]) -> Option<&str> {
    let takes_away = |word: &&str| match word.split_once('=') {
        Some(("acpi", "off")) => firmware == Firmware::Acpi,
        Some(("pci", options)) => {
            transport == Transport::Pci && options.split(',').any(|option| ["off", "nomsi"].contains(&option))
        }
        _ => false,
    };
    user.iter().flat_map(|argument| argument.split_whitespace()).find(takes_away)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_the_devices_away_is_found() {
        let found = |firmware, transport, words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            contradiction(firmware, transport, &words).map(str::to_owned)
        };
        let (acpi, line) = (Firmware::Acpi, Firmware::CommandLine);
        assert_eq!(found(acpi, Transport::Mmio, &["quiet", "a=1 acpi=off"]).as_deref(), Some("acpi=off"));
        assert_eq!(found(line, Transport::Mmio, &["acpi=off"]), None);
        assert_eq!(found(acpi, Transport::Pci, &["pci=noaer,nomsi"]).as_deref(), Some("pci=noaer,nomsi"));
        assert_eq!(found(acpi, Transport::Mmio, &["pci=off", "acpi=strict", "pci"]), None);
    }

    const BOOT: Boot = Boot {
        firmware: Firmware::Acpi,
        transport: Transport::Mmio,
        release: (6, 12),
        traces_functions: true,
        emulated: false,
        live: false,
        stock: false,
    };

    #[test]
    fn the_users_words_come_last_and_stock_skips_nothing() {
        let line = command_line(BOOT, &["a=1".into(), "b".into()]);
        assert!(line.starts_with("loglevel=1 ") && line.contains("notests") && line.ends_with(" a=1 b"));
        let line = command_line(Boot { live: true, stock: true, ..BOOT }, &[]);
        assert!(line.starts_with("ignore_loglevel ") && !line.contains("notests"));
        assert!(!line.contains("initcall_blacklist"));
    }

    #[test]
    fn a_kernel_without_traceable_functions_has_none_to_leave_out() {
        assert!(command_line(BOOT, &[]).contains(" initcall_blacklist="));
        let line = command_line(Boot { traces_functions: false, ..BOOT }, &[]);
        assert!(!line.contains("initcall_blacklist") && line.contains("notests"));
    }

    #[test]
    fn a_kernel_is_told_of_acpi_or_not_to_look_for_it() {
        assert!(command_line(BOOT, &[]).contains(" reboot=a"));
        let line = command_line(Boot { firmware: Firmware::CommandLine, ..BOOT }, &[]);
        assert!(line.contains(" acpi=off") && !line.contains("reboot=a"));
        assert!(line.contains(" pci=off"));
        let line = command_line(Boot { transport: Transport::Pci, ..BOOT }, &[]);
        assert!(line.contains(" reboot=a") && !line.contains("pci=off"));
    }

    #[test]
    fn only_newer_kernels_go_without_an_instruction_when_they_are_emulated() {
        let goes_without = |release, emulated| {
            command_line(Boot { release, emulated, ..BOOT }, &[]).contains(" clearcpuid=141")
        };
        assert!(!goes_without((6, 1), true));
        assert!(goes_without((6, 5), true));
        assert!(goes_without((7, 0), true));
        assert!(!goes_without((7, 0), false));
    }

    #[test]
    fn older_and_the_newest_kernels_go_without_xsave_when_they_are_emulated() {
        let goes_without =
            |release, emulated| command_line(Boot { release, emulated, ..BOOT }, &[]).contains(" noxsave");
        assert!(goes_without((5, 10), true));
        assert!(!goes_without((5, 10), false));
        assert!(!goes_without((6, 1), true) && !goes_without((6, 12), true));
        assert!(goes_without((7, 2), true) && !goes_without((7, 2), false));
    }
}
