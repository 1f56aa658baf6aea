//! The socket device (virtio 1.2, section 5.10): connections from programs on the host to the guest.
//!
//! A program connects to a Unix socket of the monitor's, writes `CONNECT <port>\n`, and reads `OK <its own port>\n`
//! once a process in the guest has accepted; from then on the socket carries the connection's bytes, with its
//! half-closes. If nothing listens in the guest, the socket is closed without a line. (Firecracker's protocol.)
//! Connections from the guest to the host are refused.

mod connection;
pub(super) mod connections;
mod stream;

pub use guest_protocol::packet;

use std::io;
use std::os::fd::RawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use virtio_bindings::virtio_ids::VIRTIO_ID_VSOCK;

use self::connections::Connections;
use self::packet::{HEADER_LENGTH, Header};
use super::chain::Chain;
use super::device::{Activation, Error, VirtioDevice};
use super::ring::Ring;
use super::{COMMON_FEATURES, DeviceMemory, read_config_bytes};

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const QUEUE_SIZES: [u16; 3] = [256, 256, 64];

pub struct VsockDevice {
    guest_cid: u64,
    connections: Connections,
    active: Option<Active>,
}

struct Active {
    memory: Arc<DeviceMemory>,
    receive: Ring,
    transmit: Ring,
    /// For announcing a change of the context ID, which happens only to a restored guest.
    _event: Ring,
}

impl VsockDevice {
    /// Listens at `path`, where nothing may exist yet. `guest_cid` is the guest's address, 3 or more.
    pub fn bind(guest_cid: u32, path: &Path) -> Result<Self, Error> {
        let connections = connections::bind(guest_cid, path)?;
        Ok(Self { guest_cid: guest_cid.into(), connections, active: None })
    }

    /// Serves the clients of `listener`.
    pub fn new(guest_cid: u32, listener: UnixListener) -> io::Result<Self> {
        let guest_cid = u64::from(guest_cid);
        Ok(Self { guest_cid, connections: Connections::new(guest_cid, listener)?, active: None })
    }

    fn take_from_guest(&mut self) {
        if let Some(Active { memory, transmit, .. }) = &mut self.active {
            take_packets(&mut self.connections, transmit, memory);
        }
    }

    fn give_to_guest(&mut self) {
        if let Some(Active { memory, receive, .. }) = &mut self.active {
            give_packets(&mut self.connections, receive, memory);
        }
    }
}

/// Takes the packets that the guest has made available, one a chain.
pub(super) fn take_packets(connections: &mut Connections, transmit: &mut Ring, memory: &DeviceMemory) {
    transmit.serve_all(memory, |chain| {
        take_packet(connections, chain);
        0
    });
}

/// Gives the guest packets, one a chain, as long as there are packets and chains, and it is not for too long.
pub(super) fn give_packets(connections: &mut Connections, receive: &mut Ring, memory: &DeviceMemory) {
    for turn in 0..=receive.size() {
        if !connections.has_packet() {
            break;
        }
        if turn == receive.size() {
            receive.continue_later();
            break;
        }
        let Some(chain) = receive.pop(memory) else {
            match receive.expect_kicks(memory) {
                true => continue,
                false => break,
            }
        };
        match give_packet(connections, &chain) {
            Some(written) => receive.complete(memory, chain.head, written),
            None => receive.put_back(),
        }
    }
    receive.notify_driver(memory);
}

fn take_packet(connections: &mut Connections, chain: &Chain) {
    let Some((header, rest)) = chain.readable.split_at(HEADER_LENGTH) else { return };
    if let Some(header) = header.read_array() {
        connections.guest_packet(&Header::from_bytes(&header), &rest);
    }
}

/// Fills `chain` with the next packet: bytes written, or nothing when there was none after all.
fn give_packet(connections: &mut Connections, chain: &Chain) -> Option<u32> {
    let Some((place, room)) = chain.writable.split_at(HEADER_LENGTH) else { return Some(0) };
    match connections.next_packet(&room) {
        Some(header) => {
            place.copy_from(&header.to_bytes());
            Some(HEADER_LENGTH as u32 + header.length)
        }
        // A buffer without room for data keeps data from coming; the driver gets it back.
        None if room.is_empty() => Some(0),
        None => None,
    }
}

impl VirtioDevice for VsockDevice {
    fn kind(&self) -> u32 {
        VIRTIO_ID_VSOCK
    }

    fn features(&self) -> u64 {
        COMMON_FEATURES
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_bytes(&self.guest_cid.to_le_bytes(), offset, data);
    }

    fn activate(&mut self, mut activation: Activation) -> Result<(), Error> {
        let [receive, transmit, event] = activation.rings(VIRTIO_ID_VSOCK)?;
        self.active = Some(Active { memory: activation.memory, receive, transmit, _event: event });
        Ok(())
    }

    fn queue_notified(&mut self, index: usize) {
        match index {
            RECEIVE => {}
            TRANSMIT => self.take_from_guest(),
            _ => return,
        }
        self.give_to_guest();
    }

    fn event_fd(&self) -> Option<RawFd> {
        Some(self.connections.event_fd())
    }

    fn events_ready(&mut self) {
        self.connections.take_events();
        self.give_to_guest();
    }

    fn drain(&mut self) -> bool {
        self.take_from_guest();
        self.connections.has_backlog()
    }

    fn reset(&mut self) {
        // A driver that shuts down for the machine's power-off has sent its last packets just before.
        self.take_from_guest();
        self.active = None;
        self.connections.driver_lost();
    }
}

#[cfg(test)]
mod mock_guest;
#[cfg(test)]
#[path = "vsock_test.rs"]
mod tests;
