//! Many byte streams through one virtio-serial port.
//!
//! The emulated host and the process that holds its QEMU share one port. A *channel* is one stream
//! through it, with a connection of a Unix socket at either end: both directions have an end of
//! their own, and credit of their own, so that a channel whose reader is slow holds up no other.
//!
//! * [`frame`]: what is written on the port;
//! * [`Mux`]: the state of all channels, without any input or output;
//! * [`Carrier`]: the sockets, the port, and the loop that moves bytes between them.

mod carrier;
mod engine;
mod frame;

pub use carrier::{Carrier, Event, Foreign};
pub use engine::{ChannelId, Mux};
