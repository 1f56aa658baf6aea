//! The table of Intel's MultiProcessor Specification 1.4: what kernels without ACPI go by.

use crate::layout;

const PROCESSOR: u8 = 0;
const BUS: u8 = 1;
const IOAPIC: u8 = 2;
const IO_INTERRUPT: u8 = 3;
const LOCAL_INTERRUPT: u8 = 4;

const ENABLED: u8 = 1;
const BOOT_PROCESSOR: u8 = 2;
/// Version of the local APICs and the IOAPIC that KVM emulates.
const LOCAL_APIC_VERSION: u8 = 0x14;
const IOAPIC_VERSION: u8 = 0x11;
const IOAPIC_INPUTS: u8 = 24;

/// Types of interrupts.
const INT: u8 = 0;
const NMI: u8 = 1;
const EXT_INT: u8 = 3;

const POINTER: usize = 16;
const HEADER: usize = 44;

/// The floating pointer and, right behind it, the configuration table, to lie at [`layout::EBDA`].
pub fn table(vcpus: u8) -> Vec<u8> {
    let ioapic_id = vcpus;
    let mut entries = Entries::default();
    for id in 0..vcpus {
        let flags = if id == 0 { ENABLED | BOOT_PROCESSOR } else { ENABLED };
        entries.add(&[PROCESSOR, id, LOCAL_APIC_VERSION, flags], 20);
    }
    entries.add(&[BUS, 0, b'I', b'S', b'A', b' ', b' ', b' '], 8);
    let [a, b, c, d] = layout::IOAPIC.to_le_bytes();
    entries.add(&[IOAPIC, ioapic_id, IOAPIC_VERSION, ENABLED, a, b, c, d], 8);
    for input in 0..IOAPIC_INPUTS {
        entries.add(&[IO_INTERRUPT, INT, 0, 0, 0, input, ioapic_id, input], 8);
    }
    entries.add(&[LOCAL_INTERRUPT, EXT_INT, 0, 0, 0, 0, 0, 0], 8);
    entries.add(&[LOCAL_INTERRUPT, NMI, 0, 0, 0, 0, 0xff, 1], 8);

    let mut table = Vec::with_capacity(POINTER + HEADER + entries.bytes.len());
    table.extend(b"_MP_");
    table.extend(((layout::EBDA as u32) + POINTER as u32).to_le_bytes());
    table.extend([1, 4, 0, 0, 0, 0, 0, 0]);
    set_checksum(&mut table, 10);

    let mut config = Vec::with_capacity(HEADER + entries.bytes.len());
    config.extend(b"PCMP");
    config.extend(((HEADER + entries.bytes.len()) as u16).to_le_bytes());
    config.extend([4, 0]);
    config.extend(b"VMRUN   ");
    config.extend(b"MICROVM     ");
    config.extend([0; 6]);
    config.extend(entries.count.to_le_bytes());
    config.extend(layout::LOCAL_APIC.to_le_bytes());
    config.extend([0; 4]);
    config.extend(entries.bytes);
    set_checksum(&mut config, 7);
    table.extend(config);
    table
}

#[derive(Default)]
struct Entries {
    bytes: Vec<u8>,
    count: u16,
}

impl Entries {
    /// Appends `fields`, filled up with zeroes to `size` bytes.
    fn add(&mut self, fields: &[u8], size: usize) {
        let end = self.bytes.len() + size;
        self.bytes.extend(fields);
        self.bytes.resize(end, 0);
        self.count += 1;
    }
}

/// Makes all bytes of `table` add up to zero.
fn set_checksum(table: &mut [u8], at: usize) {
    let sum = table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    table[at] = table[at].wrapping_sub(sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    #[test]
    fn the_largest_table_fits_and_both_checksums_hold() {
        let table = table(crate::spec::MAX_VCPUS);
        assert!(table.len() as u64 <= layout::EBDA_END - layout::EBDA);
        assert_eq!(sum(&table[..POINTER]), 0);
        assert_eq!(sum(&table[POINTER..]), 0);
        let length = u16::from_le_bytes([table[POINTER + 4], table[POINTER + 5]]);
        assert_eq!(usize::from(length), table.len() - POINTER);
    }
}
