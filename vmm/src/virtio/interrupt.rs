//! A device's interrupt line: an irqfd and the reasons for pulling it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// InterruptStatus bit 0: a used buffer was put into a queue.
pub const USED_BUFFER: u32 = 1;
/// InterruptStatus bit 1: the device's configuration or its DEVICE_NEEDS_RESET bit changed.
pub const CONFIGURATION: u32 = 2;

/// Shared between a device, which raises it, and its transport, where the driver reads and acknowledges the reasons.
#[derive(Debug)]
pub struct Interrupt {
    irqfd: EventFd,
    status: AtomicU32,
    needs_reset: AtomicBool,
    generation: AtomicU32,
}

impl Interrupt {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            irqfd: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?,
            status: AtomicU32::new(0),
            needs_reset: AtomicBool::new(false),
            generation: AtomicU32::new(0),
        })
    }

    /// To be registered with KVM as the irqfd (edge-triggered) of the device's GSI.
    pub fn irqfd(&self) -> &EventFd {
        &self.irqfd
    }

    /// Tells the driver that used buffers wait for it.
    pub fn used_buffer(&self) {
        self.raise(USED_BUFFER);
    }

    /// Tells the driver that the configuration space changed.
    pub fn configuration_changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.raise(CONFIGURATION);
    }

    /// Reports the driver's queues as broken beyond repair: DEVICE_NEEDS_RESET (virtio 1.2, section 2.1.2).
    pub fn needs_reset(&self) {
        self.needs_reset.store(true, Ordering::Release);
        self.raise(CONFIGURATION);
    }

    /// Whether [`needs_reset`](Self::needs_reset) was called since the last [`clear`](Self::clear).
    pub fn reset_needed(&self) -> bool {
        self.needs_reset.load(Ordering::Acquire)
    }

    /// The ConfigGeneration register: another value after each change of the configuration space.
    pub fn configuration_generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// The InterruptStatus register.
    pub fn status(&self) -> u32 {
        self.status.load(Ordering::Acquire)
    }

    /// The InterruptACK register: forgets the reasons in `bits`.
    pub fn acknowledge(&self, bits: u32) {
        self.status.fetch_and(!bits, Ordering::AcqRel);
    }

    /// Back to the state after construction, as the device is reset.
    pub fn clear(&self) {
        self.needs_reset.store(false, Ordering::Release);
        self.status.store(0, Ordering::Release);
    }

    fn raise(&self, reason: u32) {
        self.status.fetch_or(reason, Ordering::AcqRel);
        // The counter of an eventfd that KVM drains cannot come near its limit of 2^64-2, the only way to fail.
        let _ = self.irqfd.write(1);
    }
}
