//! A device as its driver meets it, whatever the transport: from power-on over the negotiation of features and the
//! queues' set-up to a running driver (virtio 1.2, section 3.1). The transports are maps of registers over it.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FAILED,
    VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET, VIRTIO_F_VERSION_1,
};
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use virtio_queue::{Queue, QueueT};
use vm_memory::GuestAddress;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::device::{ActiveQueue, Error};
use super::{Activation, DeviceMemory, Interrupt, VirtioDevice};

/// What the driver has told us through the registers, and all there is to save of a frontend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    pub status: u32,
    pub device_features_page: u32,
    pub driver_features_page: u32,
    pub driver_features: u64,
    pub selected_queue: u32,
    pub queues: Vec<QueueRegisters>,
}

impl Registers {
    /// As a reset leaves them, for a device with queues of at most these sizes.
    pub fn new(max_sizes: &[u16]) -> Self {
        let queue = |&size: &u16| QueueRegisters { size: size.into(), ..Default::default() };
        Self { queues: max_sizes.iter().map(queue).collect(), ..Default::default() }
    }
}

/// The registers of one queue, as written: unchecked until the driver says DRIVER_OK.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueRegisters {
    /// Entries; the most that the device takes, until the driver says otherwise.
    pub size: u32,
    pub ready: bool,
    /// Guest-physical addresses of the descriptor table and the two rings.
    pub descriptors: u64,
    pub available: u64,
    pub used: u64,
}

/// One device and what its driver has said to it so far.
pub struct Frontend {
    device: Arc<Mutex<dyn VirtioDevice>>,
    memory: Arc<DeviceMemory>,
    interrupt: Arc<Interrupt>,
    kicks: Vec<Arc<EventFd>>,
    /// Of the rings that the device has, those that the driver has taken back.
    stopped: Vec<Arc<AtomicBool>>,
    max_sizes: Vec<u16>,
    needed_queues: usize,
    kind: u32,
    features: u64,
    registers: Registers,
}

impl Frontend {
    /// `interrupt` is made for the device's number of queues.
    pub fn new(
        device: Arc<Mutex<dyn VirtioDevice>>,
        memory: Arc<DeviceMemory>,
        interrupt: impl FnOnce(usize) -> Result<Interrupt, Error>,
    ) -> Result<Self, Error> {
        let (kind, features, max_sizes, needed_queues) = {
            let device = lock(&device);
            (device.kind(), device.features(), device.queue_sizes().to_vec(), device.needed_queues())
        };
        let new_kick =
            |_: &u16| EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map(Arc::new).map_err(Error::eventfd);
        let kicks = max_sizes.iter().map(new_kick).collect::<Result<_, _>>()?;
        let interrupt = Arc::new(interrupt(max_sizes.len())?);
        let registers = Registers::new(&max_sizes);
        let stopped = max_sizes.iter().map(|_| Arc::default()).collect();
        Ok(Self {
            device,
            memory,
            interrupt,
            kicks,
            stopped,
            max_sizes,
            needed_queues,
            kind,
            features,
            registers,
        })
    }

    /// The device, for the event loop.
    pub fn device(&self) -> &Arc<Mutex<dyn VirtioDevice>> {
        &self.device
    }

    pub fn interrupt(&self) -> &Arc<Interrupt> {
        &self.interrupt
    }

    /// One event a queue, in order: for KVM's ioeventfd where the driver notifies the queue, and for the event loop,
    /// which reads it and calls [`VirtioDevice::queue_notified`].
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

    /// See [`VirtioDevice::kind`].
    pub fn kind(&self) -> u32 {
        self.kind
    }

    pub fn read_config(&self, offset: u64, data: &mut [u8]) {
        lock(&self.device).read_config(offset, data);
    }

    pub fn write_config(&self, offset: u64, data: &[u8]) {
        if self.has_status(VIRTIO_CONFIG_S_DRIVER) {
            lock(&self.device).write_config(offset, data);
        }
    }

    /// The selected 32 bits of the features that the device offers.
    pub fn device_features(&self) -> u32 {
        page_of(self.features, self.registers.device_features_page)
    }

    pub fn select_device_features(&mut self, page: u32) {
        self.registers.device_features_page = page;
    }

    /// The selected 32 bits of the features that the driver has chosen.
    pub fn driver_features(&self) -> u32 {
        page_of(self.registers.driver_features, self.registers.driver_features_page)
    }

    pub fn select_driver_features(&mut self, page: u32) {
        self.registers.driver_features_page = page;
    }

    pub fn write_driver_features(&mut self, value: u32) {
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

    pub fn select_queue(&mut self, index: u32) {
        self.registers.selected_queue = index;
    }

    /// The selected queue's registers, if there is such a queue.
    pub fn queue(&self) -> Option<&QueueRegisters> {
        self.registers.queues.get(self.registers.selected_queue as usize)
    }

    /// The largest size of the selected queue; zero when there is none.
    pub fn queue_max_size(&self) -> u16 {
        self.max_sizes.get(self.registers.selected_queue as usize).copied().unwrap_or(0)
    }

    /// Lets the driver write to the selected queue's registers, if it is its time. To those of a queue that is ready it
    /// must not: its own error, and virtio 1.2 leaves what happens to us.
    pub fn change_queue(&mut self, change: impl FnOnce(&mut QueueRegisters)) {
        if let Some(queue) = self.queue_in_set_up().filter(|queue| !queue.ready) {
            change(queue);
        }
    }

    pub fn set_queue_ready(&mut self, ready: bool) {
        if let Some(queue) = self.queue_in_set_up() {
            queue.ready = ready;
        }
    }

    /// Takes the selected queue back from the device, also when that runs: from then on it does not touch the queue. To
    /// have it again, the driver resets the device.
    pub fn stop_queue(&mut self) {
        let selected = self.registers.selected_queue as usize;
        if !self.has_status(VIRTIO_CONFIG_S_FEATURES_OK) {
            return;
        }
        if let (Some(queue), Some(stopped)) =
            (self.registers.queues.get_mut(selected), self.stopped.get(selected))
        {
            stopped.store(self.registers.status & VIRTIO_CONFIG_S_DRIVER_OK != 0, Ordering::Release);
            // Until the turn is over in which it may not have seen that.
            drop(lock(&self.device));
            queue.ready = false;
        }
    }

    /// Lets the device use the guest's bus, or keeps it from that.
    pub fn allow_bus(&self, allowed: bool) {
        if allowed == self.interrupt.may_use_bus() {
            return;
        }
        self.interrupt.allow_bus(allowed);
        match allowed {
            true => self.kick_all(),
            // Until the turn is over in which it may not have seen that.
            false => drop(lock(&self.device)),
        }
    }

    fn kick_all(&self) {
        for kick in &self.kicks {
            let _ = kick.write(1);
        }
    }

    /// Queues are set up between FEATURES_OK and DRIVER_OK; at other times their registers do not change.
    fn queue_in_set_up(&mut self) -> Option<&mut QueueRegisters> {
        if !self.has_status(VIRTIO_CONFIG_S_FEATURES_OK) || self.has_status(VIRTIO_CONFIG_S_DRIVER_OK) {
            return None;
        }
        self.registers.queues.get_mut(self.registers.selected_queue as usize)
    }

    /// The driver notified queue `index`, past KVM's ioeventfd.
    pub fn notify(&self, index: usize) {
        if let Some(kick) = self.kicks.get(index) {
            // Full only after 2^64-2 notifications that nobody read, and then one more would tell nothing.
            let _ = kick.write(1);
        }
    }

    pub fn status(&self) -> u32 {
        match self.interrupt.reset_needed() {
            true => self.registers.status | VIRTIO_CONFIG_S_NEEDS_RESET,
            false => self.registers.status,
        }
    }

    /// The status register (virtio 1.2, section 3.1.1): bits are added one step after the other, 0 resets.
    pub fn write_status(&mut self, value: u32) {
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
        self.kick_all();
    }

    fn checked_queues(&self) -> Option<Vec<ActiveQueue>> {
        let event_index = self.registers.driver_features & 1 << VIRTIO_RING_F_EVENT_IDX != 0;
        let check =
            |(index, ((registers, kick), &max_size)): (usize, ((&QueueRegisters, &Arc<EventFd>), &u16))| {
                let stopped = self.stopped.get(index)?.clone();
                let mut queue = Queue::new(max_size).ok()?;
                queue.try_set_size(registers.size.try_into().ok()?).ok()?;
                queue.try_set_desc_table_address(GuestAddress(registers.descriptors)).ok()?;
                queue.try_set_avail_ring_address(GuestAddress(registers.available)).ok()?;
                queue.try_set_used_ring_address(GuestAddress(registers.used)).ok()?;
                queue.set_event_idx(event_index);
                queue.set_ready(registers.ready);
                queue.is_valid(&**self.memory).then(|| ActiveQueue {
                    index,
                    queue,
                    stopped,
                    kick: kick.clone(),
                })
            };
        let queues = self.registers.queues.iter().zip(&self.kicks).zip(&self.max_sizes).enumerate();
        let set_up = queues.filter(|(index, ((queue, _), _))| *index < self.needed_queues || queue.ready);
        set_up.map(check).collect()
    }

    fn reset(&mut self) {
        lock(&self.device).reset();
        self.interrupt.clear();
        self.registers = Registers::new(&self.max_sizes);
        // Rings that the device had keep theirs.
        self.stopped.iter_mut().for_each(|stopped| *stopped = Arc::default());
    }

    fn has_status(&self, bit: u32) -> bool {
        self.registers.status & bit != 0
    }
}

/// 64 features come in two pages.
fn page_of(features: u64, page: u32) -> u32 {
    match page {
        0 => features as u32,
        1 => (features >> 32) as u32,
        _ => 0,
    }
}

/// A device whose other user panicked is still the guest's device: its state is checked at every use anyway.
fn lock<'a>(device: &'a Mutex<dyn VirtioDevice + 'static>) -> MutexGuard<'a, dyn VirtioDevice + 'static> {
    device.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the lower half of an address that comes in two.
pub fn set_low(address: &mut u64, value: u32) {
    *address = *address & !u64::from(u32::MAX) | u64::from(value);
}

/// Writes the upper half of an address that comes in two.
pub fn set_high(address: &mut u64, value: u32) {
    *address = *address & u64::from(u32::MAX) | u64::from(value) << 32;
}
