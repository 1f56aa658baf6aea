//! Virtio devices behind virtio-mmio windows (virtio 1.2, section 4.2).
//!
//! A guest driver meets a device in two places: the register window ([`mmio::MmioTransport`], reached from a vCPU's
//! exit) where it negotiates features and says where its queues are, and the queues themselves, which the device
//! reads and writes on the monitor's event loop. Everything in either place is the guest's word and is checked as
//! it enters: registers in [`mmio`], queues and descriptor chains in [`ring`] and [`chain`]. A device only sees
//! slices of guest memory that exist.

pub mod device;
pub mod interrupt;

pub use device::{Activation, VirtioDevice};
pub use interrupt::Interrupt;

/// The guest's RAM, as devices see it.
pub type GuestRam = vm_memory::GuestMemoryMmap<()>;
