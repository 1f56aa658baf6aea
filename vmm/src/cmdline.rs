//! Kernel options that make a guest start fast and die loudly.

use crate::spec::Firmware;

/// Options for a kernel that is to boot without a word and, should it panic, to print its whole log and restart.
///
/// | option | what for |
/// |---|---|
/// | `loglevel=1` | nothing but a dying kernel prints: every character is an exit from the guest |
/// | `console=ttyS0` | where it prints; the log itself is kept and can be read from /dev/kmsg |
/// | `earlycon=…` | a panic before the serial driver is up is seen too (`earlyprintk=` would print a line on every start) |
/// | `panic=-1` | restart at once, which ends the machine |
/// | `panic_print=0x20` | print the whole log when panicking (Linux 5.18 and newer) |
/// | `8250.nr_uarts=1` | look for one serial port, not four |
/// | `cryptomgr.notests` | no self-tests of ciphers: more than half of a stock kernel's start |
/// | `no_timer_check` | interrupts need no proof that they work |
/// | `tsc=reliable` | the clock is not watched by a worse one |
/// | `random.trust_cpu=on` | the generator is ready at once |
/// | `pci=off` | there is no bus to look for |
/// | `reboot=a` | restart through ACPI: without EFI, hardware-reduced machines would go the BIOS's way |
/// | `acpi=off i8042.noaux i8042.nokbd` | only for [`Firmware::CommandLine`]: nothing of this is there |
pub fn base_cmdline(firmware: Firmware) -> String {
    let mut options = vec![
        "loglevel=1",
        "console=ttyS0",
        "earlycon=uart8250,io,0x3f8",
        "panic=-1",
        "panic_print=0x20",
        "8250.nr_uarts=1",
        "cryptomgr.notests",
        "no_timer_check",
        "tsc=reliable",
        "random.trust_cpu=on",
        "pci=off",
    ];
    options.extend(match firmware {
        Firmware::Acpi => &["reboot=a"][..],
        Firmware::CommandLine => &["acpi=off", "i8042.noaux", "i8042.nokbd"],
    });
    options.join(" ")
}
