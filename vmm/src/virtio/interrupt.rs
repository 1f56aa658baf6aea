//! A device's interrupts: the reasons for them, the way they take to the guest, and whether it may use the guest's bus.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::pci::msix::Msix;

/// InterruptStatus bit 0: a used buffer was put into a queue.
pub const USED_BUFFER: u32 = 1;
/// InterruptStatus bit 1: the device's configuration or its DEVICE_NEEDS_RESET bit changed.
pub const CONFIGURATION: u32 = 2;

/// Shared between a device, which raises it, and its transport, where the driver reads and acknowledges the reasons.
pub struct Interrupt {
    way: Way,
    status: AtomicU32,
    needs_reset: AtomicBool,
    generation: AtomicU32,
    uses_bus: AtomicBool,
}

enum Way {
    /// One for all reasons, to be registered with KVM as the irqfd (edge-triggered) of the device's GSI.
    Line(EventFd),
    /// A vector for each reason, as the driver wants it.
    Messages(Arc<Msix>),
}

impl Interrupt {
    /// By a line of its own.
    pub fn line() -> io::Result<Self> {
        Ok(Self::new(Way::Line(EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?)))
    }

    /// By message-signalled interrupts.
    pub fn messages(msix: Arc<Msix>) -> Self {
        Self::new(Way::Messages(msix))
    }

    fn new(way: Way) -> Self {
        Self {
            way,
            status: AtomicU32::new(0),
            needs_reset: AtomicBool::new(false),
            generation: AtomicU32::new(0),
            uses_bus: AtomicBool::new(true),
        }
    }

    /// Whether the device may read and write the guest's memory of its own accord. On PCI the driver decides that.
    pub fn may_use_bus(&self) -> bool {
        self.uses_bus.load(Ordering::Acquire)
    }

    pub fn allow_bus(&self, allowed: bool) {
        self.uses_bus.store(allowed, Ordering::Release);
    }

    /// The line's irqfd, where there is one.
    pub fn irqfd(&self) -> Option<&EventFd> {
        match &self.way {
            Way::Line(irqfd) => Some(irqfd),
            Way::Messages(_) => None,
        }
    }

    /// Tells the driver that used buffers wait for it in queue `index`.
    pub fn used_buffer(&self, index: usize) {
        self.status.fetch_or(USED_BUFFER, Ordering::AcqRel);
        match &self.way {
            Way::Line(irqfd) => pull(irqfd),
            Way::Messages(msix) => msix.raise_for_queue(index),
        }
    }

    /// Tells the driver that the configuration space changed.
    pub fn configuration_changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.raise_configuration();
    }

    /// Reports the driver's queues as broken beyond repair: DEVICE_NEEDS_RESET (virtio 1.2, section 2.1.2).
    pub fn needs_reset(&self) {
        self.needs_reset.store(true, Ordering::Release);
        self.raise_configuration();
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

    /// The ISR register of virtio over PCI: reading it forgets the reasons.
    pub fn take_status(&self) -> u32 {
        self.status.swap(0, Ordering::AcqRel)
    }

    /// Back to the state after construction, as the device is reset.
    pub fn clear(&self) {
        self.needs_reset.store(false, Ordering::Release);
        self.status.store(0, Ordering::Release);
        if let Way::Messages(msix) = &self.way {
            msix.forget_vectors();
        }
    }

    fn raise_configuration(&self) {
        self.status.fetch_or(CONFIGURATION, Ordering::AcqRel);
        match &self.way {
            Way::Line(irqfd) => pull(irqfd),
            Way::Messages(msix) => msix.raise_for_configuration(),
        }
    }
}

fn pull(irqfd: &EventFd) {
    // The counter of an eventfd that KVM drains cannot come near its limit of 2^64-2, the only way to fail.
    let _ = irqfd.write(1);
}
