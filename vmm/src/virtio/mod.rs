//! Virtio devices, by virtio-mmio (virtio 1.2, section 4.2) or virtio over PCI (section 4.1).
//!
//! A guest driver meets a device in two places: the registers ([`mmio`] and [`pci`] are two maps of the same
//! [`frontend`], reached from a vCPU's exit) where it negotiates features and says where its queues are, and the queues
//! themselves, which the device reads and writes on the monitor's event loop. Everything in either place is the
//! guest's word and is checked as it enters: registers in [`frontend`], queues and descriptor chains in [`ring`] and
//! [`chain`]. A device only sees slices of guest memory that exist.

pub mod balloon;
pub mod block;
pub mod chain;
pub mod console;
pub mod device;
pub mod device_memory;
pub mod frontend;
pub mod interrupt;
pub mod mmio;
pub mod pci;
pub mod pmem;
pub mod ring;
pub mod rng;
mod transfer;
pub mod vsock;

pub use device::{Activation, VirtioDevice};
pub use device_memory::DeviceMemory;
pub use frontend::Frontend;
pub use interrupt::Interrupt;
pub use mmio::MmioTransport;
pub use pci::PciTransport;

/// The guest's RAM.
pub type GuestRam = vm_memory::GuestMemoryMmap<()>;

/// Feature bits that every device here offers.
pub(crate) const COMMON_FEATURES: u64 = 1 << virtio_bindings::virtio_config::VIRTIO_F_VERSION_1
    | 1 << virtio_bindings::virtio_ring::VIRTIO_RING_F_INDIRECT_DESC
    | 1 << virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;

/// Copies what `data` at `offset` covers of the configuration space `config`; zeroes past its end.
pub(crate) fn read_config_bytes(config: &[u8], offset: u64, data: &mut [u8]) {
    data.fill(0);
    let rest = usize::try_from(offset).ok().and_then(|offset| config.get(offset..)).unwrap_or_default();
    for (to, from) in data.iter_mut().zip(rest) {
        *to = *from;
    }
}

#[cfg(any(test, feature = "mock-driver"))]
pub mod mock_driver;
