//! A function's configuration space (PCI Local Bus Specification 3.0, chapter 6): 256 bytes, and which of their bits the
//! guest can change.

/// Bytes of a function's configuration space.
pub const SIZE: usize = 256;

const VENDOR: usize = 0x00;
const DEVICE: usize = 0x02;
pub const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const REVISION: usize = 0x08;
const CLASS: usize = 0x09;
pub const BASE_ADDRESS: usize = 0x10;
const SUBSYSTEM: usize = 0x2c;
const CAPABILITIES: usize = 0x34;
/// The first byte behind the header, where capabilities begin.
const HEADER_END: usize = 0x40;

/// COMMAND bit 1: the function answers at its base address.
pub const MEMORY_ENABLE: u8 = 1 << 1;
/// COMMAND bit 2: the function may read and write memory of its own accord, which its interrupts are too.
const BUS_MASTER: u8 = 1 << 2;
/// COMMAND bits that can be set: memory space, bus mastery; and, in the upper byte, no interrupt line.
const COMMAND_BITS: [u8; 2] = [MEMORY_ENABLE | BUS_MASTER, 1 << 2];
const HAS_CAPABILITIES: u8 = 1 << 4;

/// 0 in conventional devices; virtio over PCI without its legacy interface says at least 1.
const REVISION_1: u8 = 1;

/// One function's.
#[derive(Clone)]
pub struct ConfigSpace {
    bytes: [u8; SIZE],
    writable: [u8; SIZE],
    /// Where the next capability goes.
    next: usize,
    /// Where the offset of the next capability is to be written.
    link: usize,
}

impl ConfigSpace {
    /// Of the function with this vendor and device, class code and subsystem.
    pub fn new((vendor, device): (u16, u16), class: u32, (subsystem_vendor, subsystem): (u16, u16)) -> Self {
        let mut space = Self { bytes: [0; SIZE], writable: [0; SIZE], next: HEADER_END, link: CAPABILITIES };
        space.put(VENDOR, &vendor.to_le_bytes());
        space.put(DEVICE, &device.to_le_bytes());
        space.put(REVISION, &[REVISION_1]);
        let [low, middle, high, _] = class.to_le_bytes();
        space.put(CLASS, &[low, middle, high]);
        space.put(SUBSYSTEM, &subsystem_vendor.to_le_bytes());
        space.put(SUBSYSTEM + 2, &subsystem.to_le_bytes());
        space
    }

    /// Gives the function registers in memory: `size` bytes, a power of two, at `address`.
    pub fn add_memory(&mut self, address: u32, size: u32) {
        self.put(BASE_ADDRESS, &address.to_le_bytes());
        self.allow(BASE_ADDRESS, &(!(size - 1)).to_le_bytes());
        self.allow(COMMAND, &COMMAND_BITS);
    }

    /// Appends a capability: its ID and what follows the link to the next one, with the bits of it that can be written.
    /// Its offset.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> usize {
        let at = self.next;
        self.put(self.link, &[at as u8]);
        self.put(at, &[id, 0]);
        self.put(at + 2, body);
        self.allow(at + 2, writable);
        self.bytes[STATUS] |= HAS_CAPABILITIES;
        self.link = at + 1;
        self.next = (at + 2 + body.len()).next_multiple_of(4);
        at
    }

    /// A read of `data.len()` bytes; what lies past the end reads as ones.
    pub fn read(&self, offset: usize, data: &mut [u8]) {
        let bytes = self.bytes.iter().skip(offset).chain(std::iter::repeat(&0xff));
        data.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    }

    /// A write: changes the bits that can be changed.
    pub fn write(&mut self, offset: usize, data: &[u8]) {
        let places = self.bytes.iter_mut().zip(&self.writable).skip(offset);
        for ((byte, writable), value) in places.zip(data) {
            *byte = *byte & !writable | value & writable;
        }
    }

    pub fn byte(&self, offset: usize) -> u8 {
        self.bytes.get(offset).copied().unwrap_or(0xff)
    }

    pub fn word(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// The address of the registers, while the function answers there.
    pub fn memory(&self) -> Option<u64> {
        (self.byte(COMMAND) & MEMORY_ENABLE != 0).then(|| self.word(BASE_ADDRESS).into())
    }

    pub fn is_bus_master(&self) -> bool {
        self.byte(COMMAND) & BUS_MASTER != 0
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes.iter_mut().skip(offset).zip(bytes).for_each(|(to, from)| *to = *from);
    }

    fn allow(&mut self, offset: usize, bits: &[u8]) {
        self.writable.iter_mut().skip(offset).zip(bits).for_each(|(to, from)| *to = *from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_written_changes() {
        let mut space = ConfigSpace::new((0x1af4, 0x1042), 0x01_8000, (0x1af4, 2));
        space.add_memory(0xd000_0000, 0x1000);
        let first = space.add_capability(9, &[1, 2, 3], &[0, 0xf0]);
        let second = space.add_capability(17, &[4], &[]);
        assert_eq!((first, second, space.byte(CAPABILITIES)), (0x40, 0x48, 0x40));
        assert_eq!((space.byte(0x41), space.byte(0x49)), (0x48, 0));
        assert_eq!((space.word(0), space.word(8)), (0x1042_1af4, 0x0180_0001));
        assert_eq!(space.memory(), None);

        for offset in 0..SIZE + 8 {
            space.write(offset, &[0xff; 4]);
        }
        assert_eq!(space.word(0), 0x1042_1af4);
        assert_eq!(space.word(BASE_ADDRESS), 0xffff_f000, "how its size is asked for");
        assert_eq!(space.word(first), 0xf201_4809);
        space.write(BASE_ADDRESS, &0xe000_0abc_u32.to_le_bytes());
        assert_eq!(space.memory(), Some(0xe000_0000));
        let mut bytes = [0; 8];
        space.read(SIZE - 4, &mut bytes);
        assert_eq!(bytes, [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    }
}
