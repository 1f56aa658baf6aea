//! Kernel options that follow from what a machine of this monitor has, and has not.

use crate::spec::Firmware;

/// The options that a kernel's command line must hold on a machine with this firmware.
///
/// | option | why |
/// |---|---|
/// | `pci=off` | there is no bus to look for |
/// | `reboot=a` | restart through ACPI: without EFI, hardware-reduced machines would go the BIOS's way |
/// | `acpi=off i8042.noaux i8042.nokbd` | with [`Firmware::CommandLine`]: nothing of this is there |
pub fn platform_options(firmware: Firmware) -> &'static [&'static str] {
    match firmware {
        Firmware::Acpi => &["pci=off", "reboot=a"],
        Firmware::CommandLine => &["pci=off", "acpi=off", "i8042.noaux", "i8042.nokbd"],
    }
}
