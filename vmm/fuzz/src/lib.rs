//! What the fuzz targets of the virtio devices share: descriptor chains that are right but for one flaw, so that the
//! fuzzer spends its time behind the checks and not in front of them.
//!
//! `cargo +nightly fuzz run block` in `vmm/`; the other targets are pmem, vsock, console, rng, balloon, mmio
//! and pci.

pub mod channel;

use arbitrary::Arbitrary;
use vm_memory::{Bytes, GuestAddress};
use vmm::virtio::VirtioDevice;
use vmm::virtio::mock_driver::{Buffer, INDIRECT, MockDriver, NEXT, WRITE, descriptor};

/// How the bytes of a request are laid out in a chain, and what is wrong with it.
#[derive(Arbitrary, Debug, Default)]
pub struct Layout {
    /// Where the readable and the writable part are cut into buffers.
    cuts: [u8; 3],
    indirect: bool,
    flaw: Flaw,
}

#[derive(Arbitrary, Debug, Default)]
pub enum Flaw {
    #[default]
    None,
    /// More of nothing: the rest of this enum would be too likely otherwise.
    StillNone(u8),
    NoneAtAll(u8),
    Address {
        which: u8,
        address: u64,
    },
    NearTheEnd {
        which: u8,
        before: u8,
    },
    Length {
        which: u8,
        length: u32,
    },
    Flags {
        which: u8,
        flags: u16,
    },
    Link {
        which: u8,
        next: u16,
    },
    Head(u16),
    AvailableIndex(u16),
    TableLength(u32),
}

/// A chain as it was made available.
pub struct Sent {
    pub head: u16,
    pub writable: Vec<Buffer>,
}

/// Makes a request available in queue `queue`: `readable` bytes for the device, `room` bytes for its answer.
pub fn send(driver: &mut MockDriver, queue: usize, layout: &Layout, readable: &[u8], room: usize) -> Sent {
    let mut buffers = cut(driver.readable(readable), &layout.cuts[..2]);
    let writable = cut(driver.writable(room), &layout.cuts[2..]);
    buffers.extend(&writable);
    let mut table: Vec<(u64, u32, u16)> = buffers
        .iter()
        .map(|buffer| (buffer.address, buffer.length, if buffer.writable { WRITE } else { 0 } | NEXT))
        .collect();
    if table.is_empty() {
        table.push((0, 0, 0));
    }
    let last = table.len() - 1;
    table[last].2 &= !NEXT;
    let count = table.len();
    let mut next: Vec<u16> = (1..=count as u16).collect();
    let mut head = 0;
    let mut table_length = 16 * table.len() as u32;
    let mut index_jump = 0;
    let pick = |which: u8| usize::from(which) % count;
    match layout.flaw {
        Flaw::None | Flaw::StillNone(_) | Flaw::NoneAtAll(_) => {}
        Flaw::Address { which, address } => table[pick(which)].0 = address,
        Flaw::NearTheEnd { which, before } => table[pick(which)].0 = MockDriver::RAM - u64::from(before),
        Flaw::Length { which, length } => table[pick(which)].1 = length,
        Flaw::Flags { which, flags } => table[pick(which)].2 = flags,
        Flaw::Link { which, next: link } => next[pick(which)] = link,
        Flaw::Head(other) => head = other,
        Flaw::AvailableIndex(jump) => index_jump = jump,
        Flaw::TableLength(length) => table_length = length,
    }
    let entries: Vec<_> = table.iter().zip(&next).collect();
    if layout.indirect {
        let bytes: Vec<u8> = entries
            .iter()
            .flat_map(|&(&(at, length, flags), &next)| descriptor(at, length, flags, next))
            .collect();
        let place = driver.readable(&bytes);
        driver.queues[queue].write_descriptor(0, place.address, table_length, INDIRECT, 0);
    } else {
        for (index, &(&(at, length, flags), &next)) in entries.iter().enumerate() {
            driver.queues[queue].write_descriptor(index as u16, at, length, flags, next);
        }
    }
    driver.queues[queue].make_available(head);
    if index_jump != 0 {
        driver.queues[queue].set_available_index(index_jump);
    }
    Sent { head, writable: if layout.is_flawless() { writable } else { Vec::new() } }
}

impl Layout {
    /// Whether the chain is as a driver would make it.
    pub fn is_flawless(&self) -> bool {
        matches!(self.flaw, Flaw::None | Flaw::StillNone(_) | Flaw::NoneAtAll(_))
    }
}

fn cut(whole: Buffer, cuts: &[u8]) -> Vec<Buffer> {
    let mut pieces = Vec::new();
    let mut rest = whole;
    for &cut in cuts {
        let length = u32::from(cut).min(rest.length);
        if length != 0 {
            pieces.push(Buffer { length, ..rest });
            rest.address += u64::from(length);
            rest.length -= length;
        }
    }
    if rest.length != 0 {
        pieces.push(rest);
    }
    pieces
}

/// A driver on `device` and what a guest can do to it besides its requests.
pub struct Session<'d> {
    pub device: &'d mut dyn VirtioDevice,
    pub driver: MockDriver,
    features: u64,
    /// The queues' memory was written to behind the driver's back: it cannot trust its own rings.
    tampered: bool,
    /// How often the device was reset.
    pub restarts: usize,
}

impl<'d> Session<'d> {
    pub fn new(device: &'d mut dyn VirtioDevice, features: u64) -> Self {
        let features = device.features() & features | 1 << 32;
        let driver = MockDriver::new(device.queue_sizes());
        driver.activate_with(device, features);
        Self { device, driver, features, tampered: false, restarts: 0 }
    }

    /// One request from making it available to its answer: the used length and the writable bytes, if it was a
    /// flawless one.
    pub fn request(
        &mut self,
        queue: usize,
        layout: &Layout,
        readable: &[u8],
        room: usize,
    ) -> Option<(u32, Vec<u8>)> {
        self.driver.free_all();
        let sent = send(&mut self.driver, queue, layout, readable, room);
        self.device.queue_notified(queue);
        let used = self.driver.queues[queue].take_used();
        while self.driver.queues[queue].take_used().is_some() {}
        let out_of_step = matches!(layout.flaw, Flaw::Head(_) | Flaw::AvailableIndex(_));
        if out_of_step || self.driver.interrupt.reset_needed() {
            self.restart();
            return None;
        }
        if self.tampered || !layout.is_flawless() {
            return None;
        }
        let (head, length) = used.expect("a flawless chain was not returned");
        assert_eq!(head, u32::from(sent.head));
        assert!(length as usize <= room, "{length} bytes written to {room}");
        let bytes = sent.writable.iter().flat_map(|&buffer| self.driver.read(buffer)).collect();
        Some((length, bytes))
    }

    /// What a driver does when DEVICE_NEEDS_RESET is set, or it is loaded anew.
    pub fn restart(&mut self) {
        self.device.reset();
        self.driver = MockDriver::new(self.device.queue_sizes());
        self.driver.activate_with(self.device, self.features);
        self.tampered = false;
        self.restarts += 1;
    }

    /// Writes to the memory where the queues are.
    pub fn write_memory(&mut self, address: u16, bytes: &[u8]) {
        self.tampered = true;
        let _ = self.driver.memory.write(bytes, GuestAddress(u64::from(address)));
    }
}
