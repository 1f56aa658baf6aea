//! The guest-physical address map. Everything here is a pure function of the machine's spec.
//!
//! ```text
//! 0x0000_0000  RAM: boot structures below 640 KiB, the firmware's tables from 0xe_0000, kernel, initramfs
//!              (up to 3 GiB)
//! 0xd000_0000  virtio devices' registers, a page each: virtio-mmio windows, or what is behind PCI devices' first base
//!              address register
//! 0xfec0_0000  IOAPIC, 0xfee0_0000 local APICs, both in KVM
//! 0xfffb_d000  KVM's own pages for Intel processors
//! 0x1_0000_0000  the rest of the RAM
//!              then persistent memory, each device on a 1 GiB boundary
//! ```

/// Guest memory comes in multiples of this many bytes, the size of a huge page.
pub const BLOCK_OF_MEMORY: u64 = 2 << 20;

/// RAM below 4 GiB ends here at the latest; above are devices.
pub const GAP_START: u64 = 3 << 30;
/// Where RAM goes on.
pub const GAP_END: u64 = 4 << 30;

/// The first virtio device's registers.
pub const MMIO_START: u64 = 0xd000_0000;
/// The size of one virtio device's registers, in bytes.
pub const MMIO_SIZE: u64 = 0x1000;
/// As much as a PCI bus may use for its devices' registers, wherever the guest moves them.
pub const PCI_MEMORY_SIZE: u64 = 1 << 20;
/// Global system interrupt of the first virtio device; the next one has the next but for [`CLOCK_GSI`].
const FIRST_GSI: u32 = 5;
/// The real-time clock's on every PC. Without ACPI there is nobody to tell a kernel that this one has none, and a driver
/// for it that is built in takes the interrupt for itself.
const CLOCK_GSI: u32 = 8;
/// The IOAPIC has 24 inputs.
pub const MAX_DEVICES: usize = 24 - FIRST_GSI as usize - 1;

/// Address of the IOAPIC, as the chipset that KVM emulates has it.
pub const IOAPIC: u32 = 0xfec0_0000;
/// Address of the local APIC.
pub const LOCAL_APIC: u32 = 0xfee0_0000;
/// Three pages that KVM needs on Intel processors without unrestricted guests.
pub const KVM_TSS: u64 = 0xfffb_d000;
/// One page more for the same; right behind [`KVM_TSS`]'s.
pub const KVM_IDENTITY_MAP: u64 = 0xfffb_c000;

/// The boot processor's first page tables map so much, one to one: the kernel begins within.
pub const IDENTITY_MAPPED: u64 = 1 << 30;

/// Boot structures in low memory, each of which the kernel has copied before it overwrites it.
pub const GDT: u64 = 0x500;
pub const BOOT_PARAMS: u64 = 0x7000;
pub const PVH_START_INFO: u64 = 0x6000;
pub const PAGE_TABLES: u64 = 0x9000;
pub const SETUP_DATA: u64 = 0x1_0000;
pub const CMDLINE: u64 = 0x2_0000;
/// The longest command line x86 kernels take (COMMAND_LINE_SIZE), the closing zero included.
pub const CMDLINE_SIZE: usize = 2048;

/// End of conventional memory; the last KiB before 640 KiB is the extended BIOS data area, home of the MP table.
pub const EBDA: u64 = 0x9_fc00;
pub const EBDA_END: u64 = 0xa_0000;
/// The area where an operating system looks for the RSDP (ACPI 6.5, section 5.2.5.1).
pub const ACPI_START: u64 = 0xe_0000;
/// Where a PC's BIOS starts. Kernels that restart "through the BIOS" jump here in real mode.
pub const BIOS_ENTRY: u64 = 0xf_fff0;
pub const HIGH_MEMORY: u64 = 0x10_0000;

/// First and second-next ports of the 16550 at COM1.
pub const SERIAL_PORT: u16 = 0x3f8;
pub const SERIAL_PORTS: u16 = 8;
pub const SERIAL_GSI: u32 = 4;
/// ACPI's sleep control register (ACPI 6.5, section 4.8.3.7). Writing [`POWER_OFF`] turns the machine off, with or
/// without ACPI.
pub const SLEEP_CONTROL_PORT: u16 = 0x600;
pub const SLEEP_STATUS_PORT: u16 = 0x601;
/// ACPI's reset register; any write of [`RESET_VALUE`] restarts the machine.
pub const RESET_PORT: u16 = 0x602;
pub const RESET_VALUE: u8 = 1;
/// The sleep type of soft-off in `\_S5`.
pub const SLEEP_TYPE_OFF: u8 = 5;
/// What is written to [`SLEEP_CONTROL_PORT`] to power off: SLP_TYP and SLP_EN.
pub const POWER_OFF: u8 = SLEEP_TYPE_OFF << 2 | 1 << 5;
/// Bytes that the guest writes here go to [`crate::Observer::stamp`].
pub const STAMP_PORT: u16 = 0x5f0;
/// Where configuration mechanism #1 reaches the PCI bus: the address register, then the data register.
pub const PCI_ADDRESS_PORT: u16 = 0xcf8;
pub const PCI_DATA_PORT: u16 = 0xcfc;
pub const PCI_PORTS: u16 = 8;
/// Keyboard controller: nothing but its reset line is there, which kernels without ACPI pull to restart.
pub const KEYBOARD_PORT: u16 = 0x64;
pub const KEYBOARD_RESET: u8 = 0xfe;

/// RAM of `memory` bytes as (address, length) pairs.
pub fn ram(memory: u64) -> Vec<(u64, u64)> {
    if memory <= GAP_START { vec![(0, memory)] } else { vec![(0, GAP_START), (GAP_END, memory - GAP_START)] }
}

/// Where persistent memory begins: on the first 1 GiB boundary above RAM and the gap.
pub fn persistent_memory_start(memory: u64) -> u64 {
    let end = ram(memory).last().map_or(0, |(start, length)| start + length);
    end.max(GAP_END).next_multiple_of(PERSISTENT_MEMORY_ALIGNMENT)
}

/// Persistent memory devices begin on this boundary, so that huge pages can map them.
pub const PERSISTENT_MEMORY_ALIGNMENT: u64 = 1 << 30;

/// Address of virtio device `index`'s registers.
pub fn mmio_window(index: usize) -> u64 {
    MMIO_START + index as u64 * MMIO_SIZE
}

/// Global system interrupt of virtio device `index`.
pub fn gsi(index: usize) -> u32 {
    let gsi = FIRST_GSI + index as u32;
    if gsi < CLOCK_GSI { gsi } else { gsi + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_device_has_the_clocks_interrupt() {
        let all: Vec<_> = (0..MAX_DEVICES).map(gsi).collect();
        assert_eq!(all[..5], [5, 6, 7, 9, 10]);
        assert_eq!(all.last(), Some(&23));
    }

    #[test]
    fn ram_goes_around_the_gap() {
        assert_eq!(ram(256 << 20), [(0, 256 << 20)]);
        assert_eq!(ram(3 << 30), [(0, 3 << 30)]);
        assert_eq!(ram(4 << 30), [(0, 3 << 30), (4 << 30, 1 << 30)]);
        assert_eq!(persistent_memory_start(128 << 20), 4 << 30);
        assert_eq!(persistent_memory_start((3 << 30) + (2 << 20)), 5 << 30);
    }

    #[test]
    fn the_stamp_port_is_the_one_guest_init_writes_to() {
        assert_eq!(STAMP_PORT, guest_protocol::STAMP_PORT);
    }
}
