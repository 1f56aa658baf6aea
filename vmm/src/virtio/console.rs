//! The console device (virtio 1.2, section 5.3), for the sake of one port: it carries the packets of a socket device
//! ([`super::vsock`]) where the guest's kernel has none. A program in the guest is then the other end of the
//! connections.
//!
//! Towards the guest, a packet fills one receive buffer at most; the port makes one stream of them. Towards the host,
//! a write to the port is one chain, and holds one packet.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use guest_protocol::packet::CHANNEL_PORT;
use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;

use super::device::{Activation, Error, VirtioDevice};
use super::ring::Ring;
use super::vsock::connections::{self, Connections};
use super::vsock::{give_packets, take_packets};
use super::{COMMON_FEATURES, DeviceMemory, read_config_bytes};

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const CONTROL_RECEIVE: usize = 2;
const CONTROL_TRANSMIT: usize = 3;
const QUEUE_SIZES: [u16; 4] = [128, 128, 32, 32];

/// Ports have names, and an end that is open or not.
const F_MULTIPORT: u64 = 1 << 1;

/// `struct virtio_console_config`: columns, rows, the number of ports, the emergency write register.
const CONFIG: [u8; 12] = [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];

/// The one port's number.
const PORT: u32 = 0;

/// Events of control messages.
const DEVICE_READY: u16 = 0;
const PORT_ADD: u16 = 1;
const PORT_READY: u16 = 3;
const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;

/// Bytes of `struct virtio_console_control`: number of the port, event, value.
const MESSAGE: usize = 8;

/// Messages waiting for a buffer. A guest that earns more of them without taking any loses the rest.
const MAX_MESSAGES: usize = 16;

pub struct ConsoleDevice {
    connections: Connections,
    active: Option<Active>,
    messages: VecDeque<Vec<u8>>,
    /// The guest has its end of the port open.
    open: bool,
}

struct Active {
    memory: Arc<DeviceMemory>,
    receive: Ring,
    transmit: Ring,
    control_receive: Ring,
    control_transmit: Ring,
}

impl ConsoleDevice {
    /// Listens at `path`, where nothing may exist yet, for clients that want to talk to the guest. `guest_cid` is
    /// what the guest is called in packets.
    pub fn bind(guest_cid: u32, path: &Path) -> Result<Self, Error> {
        Ok(Self::over(connections::bind(guest_cid, path)?))
    }

    /// Serves the clients of `listener`.
    pub fn new(guest_cid: u32, listener: UnixListener) -> io::Result<Self> {
        Ok(Self::over(Connections::new(guest_cid.into(), listener)?))
    }

    fn over(connections: Connections) -> Self {
        Self { connections, active: None, messages: VecDeque::new(), open: false }
    }

    fn take_from_guest(&mut self) {
        if let Some(Active { memory, transmit, .. }) = &mut self.active {
            take_packets(&mut self.connections, transmit, memory);
        }
    }

    /// A buffer that nobody reads would be lost with what is in it.
    fn give_to_guest(&mut self) {
        if let (true, Some(Active { memory, receive, .. })) = (self.open, &mut self.active) {
            give_packets(&mut self.connections, receive, memory);
        }
    }

    fn take_messages(&mut self) {
        let mut taken = Vec::new();
        if let Some(Active { memory, control_transmit, .. }) = &mut self.active {
            control_transmit.serve_all(memory, |chain| {
                taken.extend(chain.readable.read_array());
                0
            });
        }
        taken.into_iter().for_each(|message| self.take_message(message));
    }

    fn take_message(&mut self, [a, b, c, d, e, f, g, h]: [u8; MESSAGE]) {
        let (port, event, value) =
            (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]));
        match (event, port, value) {
            (DEVICE_READY, _, 1) => self.say(PORT_ADD, 1, b""),
            (PORT_READY, PORT, 1) => {
                self.say(PORT_NAME, 1, CHANNEL_PORT.as_bytes());
                // The host's end is always open.
                self.say(PORT_OPEN, 1, b"");
            }
            (PORT_OPEN, PORT, 1) => self.open = true,
            (PORT_OPEN, PORT, _) => self.close(),
            _ => {}
        }
    }

    /// The guest's ends of all connections are gone.
    fn close(&mut self) {
        self.take_from_guest();
        self.open = false;
        self.connections.driver_lost();
    }

    fn say(&mut self, event: u16, value: u16, rest: &[u8]) {
        if self.messages.len() < MAX_MESSAGES {
            let [a, b, c, d] = PORT.to_le_bytes();
            let ([e, f], [g, h]) = (event.to_le_bytes(), value.to_le_bytes());
            self.messages.push_back([&[a, b, c, d, e, f, g, h], rest].concat());
        }
    }

    fn give_messages(&mut self) {
        let Some(Active { memory, control_receive, .. }) = &mut self.active else { return };
        while !self.messages.is_empty() {
            let Some(chain) = control_receive.pop(memory) else {
                match control_receive.expect_kicks(memory) {
                    true => continue,
                    false => break,
                }
            };
            // A buffer that is too small for a message gets what it can hold: the driver has asked for that.
            let message = self.messages.pop_front().unwrap_or_default();
            let written = chain.writable.copy_from(&message);
            control_receive.complete(memory, chain.head, written as u32);
        }
        control_receive.notify_driver(memory);
    }
}

impl VirtioDevice for ConsoleDevice {
    fn kind(&self) -> u32 {
        VIRTIO_ID_CONSOLE
    }

    fn features(&self) -> u64 {
        COMMON_FEATURES | F_MULTIPORT
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_bytes(&CONFIG, offset, data);
    }

    fn activate(&mut self, mut activation: Activation) -> Result<(), Error> {
        let [receive, transmit, control_receive, control_transmit] = activation.rings(VIRTIO_ID_CONSOLE)?;
        let memory = activation.memory;
        self.active = Some(Active { memory, receive, transmit, control_receive, control_transmit });
        Ok(())
    }

    fn queue_notified(&mut self, index: usize) {
        match index {
            RECEIVE | CONTROL_RECEIVE => {}
            TRANSMIT => self.take_from_guest(),
            CONTROL_TRANSMIT => self.take_messages(),
            _ => return,
        }
        self.give_messages();
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
        self.close();
        self.active = None;
        self.messages.clear();
    }
}

#[cfg(test)]
#[path = "console_test.rs"]
mod tests;
