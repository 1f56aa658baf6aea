//! Kernel options that follow from what a machine of this monitor has, and has not.

use crate::spec::{Firmware, Transport};

/// The options that a kernel's command line must hold on a machine with this firmware and this transport.
///
/// | option | why |
/// |---|---|
/// | `pci=off` | with [`Transport::Mmio`]: there is no bus to look for |
/// | `pci=noearly` | with [`Transport::Pci`]: no chipset needs a quirk before the bus is looked at in earnest |
/// | `reboot=a` | restart through ACPI: without EFI, hardware-reduced machines would go the BIOS's way |
/// | `acpi=off i8042.noaux i8042.nokbd` | with [`Firmware::CommandLine`]: nothing of this is there |
pub fn platform_options(firmware: Firmware, transport: Transport) -> Vec<&'static str> {
    let bus = match transport {
        Transport::Mmio => "pci=off",
        Transport::Pci => "pci=noearly",
    };
    let firmware: &[_] = match firmware {
        Firmware::Acpi => &["reboot=a"],
        Firmware::CommandLine => &["acpi=off", "i8042.noaux", "i8042.nokbd"],
    };
    [&[bus], firmware].concat()
}
