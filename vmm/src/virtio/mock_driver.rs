//! The driver's side of the queues, for tests and fuzzing: it lays out rings in a small guest memory, makes chains
//! available and collects what the device used.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::device::ActiveQueue;
use super::pmem::mapping::Mapping;
use super::{Activation, DeviceMemory, GuestRam, Interrupt, VirtioDevice};

/// Flags of a descriptor (virtio 1.2, section 2.7.5).
pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

const QUEUE_SPACE: u64 = 0x8000;
const AVAILABLE: u64 = 0x4000;
const USED: u64 = 0x5000;

/// One buffer of a chain.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    pub address: u64,
    pub length: u32,
    pub writable: bool,
}

/// A driver with its own guest memory of [`MockDriver::RAM`] bytes, the queues first, then a heap for buffers.
pub struct MockDriver {
    pub memory: Arc<DeviceMemory>,
    pub interrupt: Arc<Interrupt>,
    pub queues: Vec<MockQueue>,
    heap: u64,
}

impl MockDriver {
    pub const RAM: u64 = 16 << 20;

    pub fn new(sizes: &[u16]) -> Self {
        Self::beside(sizes, Vec::new())
    }

    /// A driver in a machine that has these images in persistent memory.
    pub fn beside(sizes: &[u16], images: Vec<(u64, Arc<Mapping>)>) -> Self {
        let ranges = [(GuestAddress(0), Self::RAM as usize)];
        let ram = GuestRam::from_ranges(&ranges).expect("guest memory");
        let memory = Arc::new(DeviceMemory::new(ram, images).expect("a pipe"));
        let queue = |(index, &size): (usize, &u16)| MockQueue::new(memory.clone(), index, size);
        let queues = sizes.iter().enumerate().map(queue).collect();
        let heap = sizes.len() as u64 * QUEUE_SPACE;
        Self { memory, interrupt: Arc::new(Interrupt::line().expect("eventfd")), queues, heap }
    }

    /// A driver that has brought up `device` with all that it offers.
    pub fn activate(device: &mut dyn VirtioDevice) -> Self {
        let driver = Self::new(device.queue_sizes());
        let features = device.features();
        driver.activate_with(device, features);
        driver
    }

    pub fn activate_with(&self, device: &mut dyn VirtioDevice, features: u64) {
        let event_index = features & 1 << virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX != 0;
        let queues = self.queues.iter().map(|queue| queue.active(event_index)).collect();
        let (memory, interrupt) = (self.memory.clone(), self.interrupt.clone());
        device.activate(Activation { memory, queues, interrupt, features }).expect("activation");
    }

    /// Guest memory that nobody else has.
    pub fn allocate(&mut self, length: usize) -> u64 {
        let address = self.heap;
        self.heap = (self.heap + length as u64).next_multiple_of(16);
        assert!(self.heap <= Self::RAM, "mock driver's heap is full");
        address
    }

    /// Forgets all allocations.
    pub fn free_all(&mut self) {
        self.heap = self.queues.len() as u64 * QUEUE_SPACE;
    }

    pub fn readable(&mut self, bytes: &[u8]) -> Buffer {
        let address = self.allocate(bytes.len());
        self.memory.write_slice(bytes, GuestAddress(address)).expect("write to guest memory");
        Buffer { address, length: bytes.len() as u32, writable: false }
    }

    pub fn writable(&mut self, length: usize) -> Buffer {
        let address = self.allocate(length);
        self.memory.write_slice(&vec![0xa5; length], GuestAddress(address)).expect("write to guest memory");
        Buffer { address, length: length as u32, writable: true }
    }

    pub fn read(&self, buffer: Buffer) -> Vec<u8> {
        let mut bytes = vec![0; buffer.length as usize];
        self.memory.read_slice(&mut bytes, GuestAddress(buffer.address)).expect("read from guest memory");
        bytes
    }

    /// One request on queue `index`, served at once: the used length and what the writable buffers hold.
    pub fn request(
        &mut self,
        device: &mut dyn VirtioDevice,
        index: usize,
        readable: &[&[u8]],
        writable: &[usize],
    ) -> (u32, Vec<Vec<u8>>) {
        let mut chain: Vec<_> = readable.iter().map(|bytes| self.readable(bytes)).collect();
        chain.extend(writable.iter().map(|&length| self.writable(length)));
        let head = self.queues[index].add(&chain);
        device.queue_notified(index);
        let (used_head, length) = self.queues[index].take_used().expect("the device used no chain");
        assert_eq!(used_head, u32::from(head));
        let written =
            chain.iter().filter(|buffer| buffer.writable).map(|&buffer| self.read(buffer)).collect();
        (length, written)
    }
}

/// One split virtqueue as its driver has it.
pub struct MockQueue {
    memory: Arc<DeviceMemory>,
    index: usize,
    base: u64,
    size: u16,
    next_descriptor: u16,
    available: u16,
    seen: u16,
    pub kick: Arc<EventFd>,
}

impl MockQueue {
    fn new(memory: Arc<DeviceMemory>, index: usize, size: u16) -> Self {
        assert!(size <= 1024);
        let kick = Arc::new(EventFd::new(EFD_NONBLOCK).expect("eventfd"));
        let base = index as u64 * QUEUE_SPACE;
        Self { memory, index, base, size, next_descriptor: 0, available: 0, seen: 0, kick }
    }

    /// The device's side of it.
    pub fn active(&self, event_index: bool) -> ActiveQueue {
        let mut queue = Queue::new(self.size).expect("queue");
        queue.try_set_desc_table_address(GuestAddress(self.base)).expect("descriptor table");
        queue.try_set_avail_ring_address(GuestAddress(self.base + AVAILABLE)).expect("available ring");
        queue.try_set_used_ring_address(GuestAddress(self.base + USED)).expect("used ring");
        queue.set_event_idx(event_index);
        queue.set_ready(true);
        ActiveQueue { index: self.index, queue, stopped: Arc::default(), kick: self.kick.clone() }
    }

    /// Addresses of the descriptor table, the available ring and the used ring.
    pub fn addresses(&self) -> [u64; 3] {
        [self.base, self.base + AVAILABLE, self.base + USED]
    }

    /// Makes a chain of `buffers` available; its head.
    pub fn add(&mut self, buffers: &[Buffer]) -> u16 {
        let head = self.next_descriptor;
        for (position, buffer) in buffers.iter().enumerate() {
            let last = position + 1 == buffers.len();
            let flags = if buffer.writable { WRITE } else { 0 } | if last { 0 } else { NEXT };
            let index = self.next_descriptor;
            self.next_descriptor = (index + 1) % self.size;
            self.write_descriptor(index, buffer.address, buffer.length, flags, self.next_descriptor);
        }
        self.make_available(head);
        head
    }

    pub fn write_descriptor(&self, index: u16, address: u64, length: u32, flags: u16, next: u16) {
        let bytes = descriptor(address, length, flags, next);
        let place = self.base + u64::from(index) * 16;
        self.memory.write_slice(&bytes, GuestAddress(place)).expect("descriptor");
    }

    pub fn make_available(&mut self, head: u16) {
        let ring = self.base + AVAILABLE;
        let slot = ring + 4 + u64::from(self.available % self.size) * 2;
        self.memory.write_obj(head, GuestAddress(slot)).expect("available ring");
        self.available = self.available.wrapping_add(1);
        self.set_available_index(self.available);
    }

    pub fn set_available_index(&mut self, index: u16) {
        let place = GuestAddress(self.base + AVAILABLE + 2);
        self.memory.store(index, place, Ordering::Release).expect("available index");
    }

    /// Asks to be interrupted once the device has used the buffer after the `index`th.
    pub fn set_used_event(&self, index: u16) {
        let place = self.base + AVAILABLE + 4 + u64::from(self.size) * 2;
        self.memory.write_obj(index, GuestAddress(place)).expect("used event");
    }

    /// The next chain that the device returned: its head and the bytes written.
    pub fn take_used(&mut self) -> Option<(u32, u32)> {
        let ring = self.base + USED;
        let index: u16 = self.memory.load(GuestAddress(ring + 2), Ordering::Acquire).expect("used index");
        if index == self.seen {
            return None;
        }
        let slot = ring + 4 + u64::from(self.seen % self.size) * 8;
        self.seen = self.seen.wrapping_add(1);
        self.set_used_event(self.seen);
        let head = self.memory.read_obj(GuestAddress(slot)).expect("used ring");
        let length = self.memory.read_obj(GuestAddress(slot + 4)).expect("used ring");
        Some((head, length))
    }
}

/// A descriptor as it lies in memory, for a table made by hand.
pub fn descriptor(address: u64, length: u32, flags: u16, next: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&address.to_le_bytes());
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    bytes[12..14].copy_from_slice(&flags.to_le_bytes());
    bytes[14..].copy_from_slice(&next.to_le_bytes());
    bytes
}
