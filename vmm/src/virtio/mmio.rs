//! The register window of one device (virtio 1.2, section 4.2.2), and the way from power-on to a running driver.

use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FAILED,
    VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_mmio::*;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use virtio_queue::{Queue, QueueT};
use vm_memory::GuestAddress;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::device::{ActiveQueue, Error};
use super::{Activation, GuestRam, Interrupt, VirtioDevice};

/// Bytes of guest-physical address space that one device takes.
pub const WINDOW_SIZE: u64 = 0x1000;
/// Offset of the QueueNotify register, where the queues' ioeventfds go: a 4-byte write of the queue's index.
pub const QUEUE_NOTIFY: u64 = VIRTIO_MMIO_QUEUE_NOTIFY as u64;

const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VERSION: u32 = 2;
const VENDOR: u32 = u32::from_le_bytes(*b"vmrn");
const CONFIG: u64 = VIRTIO_MMIO_CONFIG as u64;

/// What the driver has told us through the registers, and all there is to save of a transport.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    pub status: u32,
    pub device_features_page: u32,
    pub driver_features_page: u32,
    pub driver_features: u64,
    pub selected_queue: u32,
    pub queues: Vec<QueueRegisters>,
}

/// The registers of one queue, as written: unchecked until the driver says DRIVER_OK.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueRegisters {
    /// Entries.
    pub size: u32,
    pub ready: bool,
    /// Guest-physical addresses of the descriptor table and the two rings.
    pub descriptors: u64,
    pub available: u64,
    pub used: u64,
}

/// One device in its window.
pub struct MmioTransport {
    device: Arc<Mutex<dyn VirtioDevice>>,
    memory: Arc<GuestRam>,
    interrupt: Arc<Interrupt>,
    kicks: Vec<Arc<EventFd>>,
    max_sizes: Vec<u16>,
    needed_queues: usize,
    kind: u32,
    features: u64,
    registers: Registers,
}

impl MmioTransport {
    pub fn new(device: Arc<Mutex<dyn VirtioDevice>>, memory: Arc<GuestRam>) -> Result<Self, Error> {
        let host = |source| Error::Host { doing: "cannot create a virtio device's eventfd".into(), source };
        let (kind, features, max_sizes, needed_queues) = {
            let device = lock(&device);
            (device.kind(), device.features(), device.queue_sizes().to_vec(), device.needed_queues())
        };
        let new_kick = |_: &u16| EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map(Arc::new).map_err(host);
        let kicks = max_sizes.iter().map(new_kick).collect::<Result<_, _>>()?;
        let interrupt = Arc::new(Interrupt::new().map_err(host)?);
        let registers =
            Registers { queues: vec![QueueRegisters::default(); max_sizes.len()], ..Default::default() };
        Ok(Self { device, memory, interrupt, kicks, max_sizes, needed_queues, kind, features, registers })
    }

    /// The device, for the event loop.
    pub fn device(&self) -> &Arc<Mutex<dyn VirtioDevice>> {
        &self.device
    }

    /// The line to register with KVM.
    pub fn interrupt(&self) -> &Arc<Interrupt> {
        &self.interrupt
    }

    /// One event a queue, in order: for KVM's ioeventfd at [`QUEUE_NOTIFY`], and for the event loop, which reads it
    /// and calls [`VirtioDevice::queue_notified`].
    pub fn queue_events(&self) -> &[Arc<EventFd>] {
        &self.kicks
    }

    /// The device's own event source, see [`VirtioDevice::event_fd`].
    pub fn device_event_fd(&self) -> Option<RawFd> {
        lock(&self.device).event_fd()
    }

    /// See [`VirtioDevice::waits_for_disk`].
    pub fn waits_for_disk(&self) -> bool {
        lock(&self.device).waits_for_disk()
    }

    pub fn registers(&self) -> &Registers {
        &self.registers
    }

    /// A read of `data.len()` bytes at `offset` in the window.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        if offset >= CONFIG {
            return lock(&self.device).read_config(offset - CONFIG, data);
        }
        data.fill(0);
        if data.len() == 4 && offset.is_multiple_of(4) {
            data.copy_from_slice(&self.read_register(offset as u32).to_le_bytes());
        }
    }

    /// A write of `data` at `offset` in the window.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        if offset >= CONFIG {
            if self.has_status(VIRTIO_CONFIG_S_DRIVER) {
                lock(&self.device).write_config(offset - CONFIG, data);
            }
            return;
        }
        if let Ok(value) = <[u8; 4]>::try_from(data)
            && offset.is_multiple_of(4)
        {
            self.write_register(offset as u32, u32::from_le_bytes(value));
        }
    }

    fn read_register(&self, register: u32) -> u32 {
        let queue = self.registers.queues.get(self.registers.selected_queue as usize);
        match register {
            VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            VIRTIO_MMIO_VERSION => VERSION,
            VIRTIO_MMIO_DEVICE_ID => self.kind,
            VIRTIO_MMIO_VENDOR_ID => VENDOR,
            VIRTIO_MMIO_DEVICE_FEATURES => match self.registers.device_features_page {
                0 => self.features as u32,
                1 => (self.features >> 32) as u32,
                _ => 0,
            },
            VIRTIO_MMIO_QUEUE_NUM_MAX => {
                let max = self.max_sizes.get(self.registers.selected_queue as usize);
                max.map_or(0, |&size| u32::from(size))
            }
            VIRTIO_MMIO_QUEUE_READY => u32::from(queue.is_some_and(|queue| queue.ready)),
            VIRTIO_MMIO_INTERRUPT_STATUS => self.interrupt.status(),
            VIRTIO_MMIO_STATUS if self.interrupt.reset_needed() => {
                self.registers.status | VIRTIO_CONFIG_S_NEEDS_RESET
            }
            VIRTIO_MMIO_STATUS => self.registers.status,
            VIRTIO_MMIO_CONFIG_GENERATION => self.interrupt.configuration_generation(),
            // No shared memory region exists: its length reads as all ones.
            VIRTIO_MMIO_SHM_LEN_LOW
            | VIRTIO_MMIO_SHM_LEN_HIGH
            | VIRTIO_MMIO_SHM_BASE_LOW
            | VIRTIO_MMIO_SHM_BASE_HIGH => u32::MAX,
            _ => 0,
        }
    }

    fn write_register(&mut self, register: u32, value: u32) {
        match register {
            VIRTIO_MMIO_DEVICE_FEATURES_SEL => self.registers.device_features_page = value,
            VIRTIO_MMIO_DRIVER_FEATURES_SEL => self.registers.driver_features_page = value,
            VIRTIO_MMIO_DRIVER_FEATURES => self.write_driver_features(value),
            VIRTIO_MMIO_QUEUE_SEL => self.registers.selected_queue = value,
            VIRTIO_MMIO_QUEUE_NOTIFY => {
                if let Some(kick) = self.kicks.get(value as usize) {
                    // Full only after 2^64-2 notifications that nobody read, and then one more would tell nothing.
                    let _ = kick.write(1);
                }
            }
            VIRTIO_MMIO_INTERRUPT_ACK => self.interrupt.acknowledge(value),
            VIRTIO_MMIO_STATUS => self.write_status(value),
            _ => self.write_queue_register(register, value),
        }
    }

    fn write_driver_features(&mut self, value: u32) {
        if !self.has_status(VIRTIO_CONFIG_S_DRIVER) || self.has_status(VIRTIO_CONFIG_S_FEATURES_OK) {
            return;
        }
        let (shift, value) = match self.registers.driver_features_page {
            0 => (0, u64::from(value)),
            1 => (32, u64::from(value)),
            _ => return,
        };
        let others = self.registers.driver_features & !(u64::from(u32::MAX) << shift);
        self.registers.driver_features = others | value << shift;
    }

    /// Queues are set up between FEATURES_OK and DRIVER_OK; at other times their registers do not change.
    fn write_queue_register(&mut self, register: u32, value: u32) {
        if !self.has_status(VIRTIO_CONFIG_S_FEATURES_OK) || self.has_status(VIRTIO_CONFIG_S_DRIVER_OK) {
            return;
        }
        let Some(queue) = self.registers.queues.get_mut(self.registers.selected_queue as usize) else {
            return;
        };
        match register {
            VIRTIO_MMIO_QUEUE_READY => queue.ready = value & 1 == 1,
            // The driver's own error; virtio 1.2, section 4.2.2.2 leaves what happens to us.
            _ if queue.ready => {}
            VIRTIO_MMIO_QUEUE_NUM => queue.size = value,
            VIRTIO_MMIO_QUEUE_DESC_LOW => set_low(&mut queue.descriptors, value),
            VIRTIO_MMIO_QUEUE_DESC_HIGH => set_high(&mut queue.descriptors, value),
            VIRTIO_MMIO_QUEUE_AVAIL_LOW => set_low(&mut queue.available, value),
            VIRTIO_MMIO_QUEUE_AVAIL_HIGH => set_high(&mut queue.available, value),
            VIRTIO_MMIO_QUEUE_USED_LOW => set_low(&mut queue.used, value),
            VIRTIO_MMIO_QUEUE_USED_HIGH => set_high(&mut queue.used, value),
            _ => {}
        }
    }

    /// The status register (virtio 1.2, section 3.1.1): bits are added one step after the other, 0 resets.
    fn write_status(&mut self, value: u32) {
        if value == 0 {
            return self.reset();
        }
        let old = self.registers.status;
        if value & old != old {
            return;
        }
        let added = value & !old;
        if added & VIRTIO_CONFIG_S_FAILED != 0 {
            self.registers.status |= VIRTIO_CONFIG_S_FAILED;
            return;
        }
        for (step, before) in [
            (VIRTIO_CONFIG_S_ACKNOWLEDGE, 0),
            (VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_ACKNOWLEDGE),
            (VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER),
            (VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK),
        ] {
            if added & step == 0 || self.registers.status & before != before {
                continue;
            }
            if step == VIRTIO_CONFIG_S_FEATURES_OK && !self.features_acceptable() {
                continue;
            }
            self.registers.status |= step;
            if step == VIRTIO_CONFIG_S_DRIVER_OK {
                self.activate();
            }
        }
    }

    fn features_acceptable(&self) -> bool {
        let chosen = self.registers.driver_features;
        chosen & !self.features == 0 && chosen & 1 << VIRTIO_F_VERSION_1 != 0
    }

    /// A driver that cannot be served learns of it by DEVICE_NEEDS_RESET; its machine runs on without the device.
    fn activate(&mut self) {
        let activation = match self.checked_queues() {
            Some(queues) => Activation {
                memory: self.memory.clone(),
                queues,
                interrupt: self.interrupt.clone(),
                features: self.registers.driver_features,
            },
            None => return self.interrupt.needs_reset(),
        };
        if lock(&self.device).activate(activation).is_err() {
            return self.interrupt.needs_reset();
        }
        // Buffers may have been made available, and the notification eaten, before the device was there.
        for kick in &self.kicks {
            let _ = kick.write(1);
        }
    }

    fn checked_queues(&self) -> Option<Vec<ActiveQueue>> {
        let event_index = self.registers.driver_features & 1 << VIRTIO_RING_F_EVENT_IDX != 0;
        let check = |((registers, kick), &max_size): ((&QueueRegisters, &Arc<EventFd>), &u16)| {
            let mut queue = Queue::new(max_size).ok()?;
            queue.try_set_size(registers.size.try_into().ok()?).ok()?;
            queue.try_set_desc_table_address(GuestAddress(registers.descriptors)).ok()?;
            queue.try_set_avail_ring_address(GuestAddress(registers.available)).ok()?;
            queue.try_set_used_ring_address(GuestAddress(registers.used)).ok()?;
            queue.set_event_idx(event_index);
            queue.set_ready(registers.ready);
            queue.is_valid(&*self.memory).then(|| ActiveQueue { queue, kick: kick.clone() })
        };
        let queues = self.registers.queues.iter().zip(&self.kicks).zip(&self.max_sizes).enumerate();
        let set_up = queues.filter(|(index, ((queue, _), _))| *index < self.needed_queues || queue.ready);
        set_up.map(|(_, queue)| check(queue)).collect()
    }

    fn reset(&mut self) {
        lock(&self.device).reset();
        self.interrupt.clear();
        let queues = vec![QueueRegisters::default(); self.max_sizes.len()];
        self.registers = Registers { queues, ..Default::default() };
    }

    fn has_status(&self, bit: u32) -> bool {
        self.registers.status & bit != 0
    }
}

/// A device whose other user panicked is still the guest's device: its state is checked at every use anyway.
fn lock<'a>(device: &'a Mutex<dyn VirtioDevice + 'static>) -> MutexGuard<'a, dyn VirtioDevice + 'static> {
    device.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set_low(address: &mut u64, value: u32) {
    *address = *address & !u64::from(u32::MAX) | u64::from(value);
}

fn set_high(address: &mut u64, value: u32) {
    *address = *address & u64::from(u32::MAX) | u64::from(value) << 32;
}

#[cfg(test)]
#[path = "mmio_test.rs"]
mod tests;
