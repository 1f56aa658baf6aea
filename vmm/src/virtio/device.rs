//! What every virtio device is to the transport and to the event loop.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use virtio_queue::Queue;
use vmm_sys_util::eventfd::EventFd;

use super::ring::Ring;
use super::{DeviceMemory, Interrupt};

/// Why a device could not be built or brought up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The driver said DRIVER_OK with fewer queues than the device has.
    #[error("virtio device {kind} needs {needed} queues, the guest's driver set up {ready}")]
    QueuesMissing { kind: u32, needed: usize, ready: usize },
    /// An operation on the host failed.
    #[error("{doing}")]
    Host { doing: String, source: std::io::Error },
    /// The device's queues do not fit into the transport.
    #[error("virtio device {kind} has {queues} queues, more than a PCI device of this monitor can have")]
    TooManyQueues { kind: u32, queues: usize },
}

impl Error {
    pub(super) fn eventfd(source: std::io::Error) -> Self {
        Self::Host { doing: "cannot create a virtio device's eventfd".into(), source }
    }
}

/// One queue that the driver has set up, with the event that announces new buffers in it.
pub struct ActiveQueue {
    /// Which of the device's queues it is.
    pub index: usize,
    /// Addresses checked to lie in guest memory, event index set as negotiated.
    pub queue: Queue,
    /// The driver has taken it back.
    pub stopped: Arc<AtomicBool>,
    /// The queue's ioeventfd. A device that stops early for the sake of the others writes to it, to be called again.
    pub kick: Arc<EventFd>,
}

/// What a driver's DRIVER_OK hands to its device.
pub struct Activation {
    pub memory: Arc<DeviceMemory>,
    /// One for each of [`VirtioDevice::queue_sizes`], in order; without those that the device can do without and the
    /// driver did not set up.
    pub queues: Vec<ActiveQueue>,
    pub interrupt: Arc<Interrupt>,
    /// The feature bits that both sides agreed on.
    pub features: u64,
}

impl Activation {
    /// The queues as rings to serve, for a device of `N` queues.
    pub fn rings<const N: usize>(&mut self, kind: u32) -> Result<[Ring; N], Error> {
        let rings = self.all_rings();
        let ready = rings.len();
        rings.try_into().map_err(|_| Error::QueuesMissing { kind, needed: N, ready })
    }

    /// The queues as rings to serve, as many as there are.
    pub fn all_rings(&mut self) -> Vec<Ring> {
        self.queues.drain(..).map(|queue| Ring::new(queue, self.interrupt.clone())).collect()
    }
}

/// A virtio device without its transport.
///
/// [`activate`](Self::activate), [`reset`](Self::reset) and the configuration accesses come from the vCPU that
/// touched the transport's registers, the rest from the event loop; a mutex around the device keeps them apart.
pub trait VirtioDevice: Send {
    /// Virtio device ID (virtio 1.2, section 5): 2 for block, 27 for pmem.
    fn kind(&self) -> u32;

    /// Feature bits offered, VIRTIO_F_VERSION_1 included.
    fn features(&self) -> u64;

    /// The largest size of each queue: a power of two, at most 32768.
    fn queue_sizes(&self) -> &[u16];

    /// How many of its queues the device cannot do without; the first ones.
    fn needed_queues(&self) -> usize {
        self.queue_sizes().len()
    }

    /// Fills `data` from the device's configuration space; what lies past its end reads as zero.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// The driver wrote to the configuration space.
    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

    /// Takes the queues and starts to serve them.
    fn activate(&mut self, activation: Activation) -> Result<(), Error>;

    /// Buffers were made available in queue `index`. Called for an inactive device too, which does nothing then.
    fn queue_notified(&mut self, index: usize);

    /// A descriptor that becomes readable when the device has work of its own, for example an epoll instance over
    /// its sockets. It stays the same for the device's life, across resets.
    fn event_fd(&self) -> Option<RawFd> {
        None
    }

    /// [`event_fd`](Self::event_fd) is readable.
    fn events_ready(&mut self) {}

    /// Whether serving this device may mean to wait for a disk, for which the others must not wait as well: it is then
    /// served on a thread of its own.
    fn waits_for_disk(&self) -> bool {
        false
    }

    /// The guest has ended: serves what it left in the queues. True while something of it is still on its way out of
    /// the monitor; the event loop then goes on and asks again. (A guest that powers off does not wait for the bytes
    /// that it has just sent to be read.)
    fn drain(&mut self) -> bool {
        false
    }

    /// Gives up the queues and returns to the state before activation. Must be idempotent.
    fn reset(&mut self);
}
