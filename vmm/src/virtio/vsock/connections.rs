//! All connections of a socket device, and the place on the host where clients come in.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

use super::connection::Connection;
use super::packet::{HOST_CID, Header, Operation, STREAM};
use super::stream::HostStream;
use crate::virtio::chain::Buffers;
use crate::virtio::device::Error;

/// Clients served at once; more of them wait in the listener's queue.
pub const MAX_CONNECTIONS: usize = 440;
/// Resets waiting for a receive buffer. A guest that earns more of them without taking any loses the rest.
const MAX_RESETS: usize = 256;
/// Socket events handled before the other devices get a turn.
const EVENTS_PER_TURN: usize = 64;
/// Our ports lie above those of programs, as those of the kernel's own transports do.
const FIRST_PORT: u32 = 1 << 30;
const LAST_PORT: u32 = u32::MAX >> 1;
/// The listener's name among the ports in epoll's data.
const LISTENER: u64 = 0;

pub struct Connections {
    guest_cid: u64,
    listener: UnixListener,
    epoll: Epoll,
    /// Clients may be waiting at the listener.
    clients_waiting: bool,
    /// By our port.
    by_port: HashMap<u32, Connection>,
    next_port: u32,
    /// Ports of connections that may have a packet for the guest, in the order of their turn. A port may be here
    /// that has none, or twice; it then loses a turn.
    ready: VecDeque<u32>,
    resets: VecDeque<Header>,
}

/// Listens at `path`, where nothing may exist yet, for clients that want to talk to the guest `guest_cid`.
pub fn bind(guest_cid: u32, path: &Path) -> Result<Connections, Error> {
    let bound = UnixListener::bind(path).and_then(|listener| Connections::new(guest_cid.into(), listener));
    bound.map_err(|source| Error::Host {
        doing: format!("cannot listen at {} for connections to the guest", path.display()),
        source,
    })
}

impl Connections {
    pub fn new(guest_cid: u64, listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new()?;
        let events = EventSet::IN | EventSet::EDGE_TRIGGERED;
        epoll.ctl(ControlOperation::Add, listener.as_raw_fd(), EpollEvent::new(events, LISTENER))?;
        Ok(Self {
            guest_cid,
            listener,
            epoll,
            clients_waiting: true,
            by_port: HashMap::new(),
            next_port: FIRST_PORT,
            ready: VecDeque::new(),
            resets: VecDeque::new(),
        })
    }

    /// Readable when [`take_events`](Self::take_events) has something to do.
    pub fn event_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }

    /// Handles what happened at the sockets, a bounded number of events.
    pub fn take_events(&mut self) {
        let mut events = [EpollEvent::default(); EVENTS_PER_TURN];
        let count = self.epoll.wait(0, &mut events).unwrap_or(0);
        for event in &events[..count] {
            if event.data() == LISTENER {
                self.clients_waiting = true;
                continue;
            }
            let port = event.data() as u32;
            if let Some(connection) = self.by_port.get_mut(&port) {
                let events = event.event_set();
                let gone = events.intersects(EventSet::HANG_UP | EventSet::ERROR);
                let readable = gone || events.intersects(EventSet::IN | EventSet::READ_HANG_UP);
                connection.client_event(readable, events.contains(EventSet::OUT), gone);
                self.settle(port);
            }
        }
        self.accept_clients();
    }

    /// A packet from the guest. `rest` is what the chain holds after the header.
    pub fn guest_packet(&mut self, header: &Header, rest: &Buffers) {
        if header.source_cid != self.guest_cid || header.destination_cid != HOST_CID {
            return;
        }
        let port = header.destination_port;
        if let Some(connection) =
            self.by_port.get_mut(&port).filter(|known| known.is_known_as(header.source_port))
        {
            match rest.split_at(header.length as usize) {
                Some((payload, _)) if header.kind == STREAM => connection.guest_packet(header, &payload),
                _ => connection.break_off(),
            }
            self.settle(port);
        } else if !matches!(header.operation, Operation::Reset | Operation::CreditUpdate) {
            // Those two may be about a connection that we have just ended, and need no answer.
            self.owe_reset(header.reset());
        }
    }

    pub fn has_packet(&self) -> bool {
        !self.resets.is_empty() || !self.ready.is_empty()
    }

    /// The next packet for the guest, its payload in `room`. Connections take turns.
    pub fn next_packet(&mut self, room: &Buffers) -> Option<Header> {
        if let Some(reset) = self.resets.pop_front() {
            return Some(reset);
        }
        for _ in 0..self.ready.len() {
            let port = self.ready.pop_front()?;
            let packet = self.by_port.get_mut(&port).and_then(|connection| connection.next_packet(room));
            self.settle(port);
            if packet.is_some() {
                return packet;
            }
        }
        None
    }

    /// The driver is gone, and with it the guest's ends of the connections.
    pub fn driver_lost(&mut self) {
        self.by_port.values_mut().for_each(Connection::driver_lost);
        let ports: Vec<u32> = self.by_port.keys().copied().collect();
        self.ready.clear();
        self.resets.clear();
        ports.into_iter().for_each(|port| self.settle(port));
        self.accept_clients();
    }

    /// Whether bytes that the guest sent wait for a client to read.
    pub fn has_backlog(&self) -> bool {
        self.by_port.values().any(Connection::has_backlog)
    }

    fn accept_clients(&mut self) {
        while self.clients_waiting && self.by_port.len() < MAX_CONNECTIONS {
            match HostStream::accept(&self.listener) {
                Ok(stream) => self.add(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.clients_waiting = false,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Out of descriptors or memory: another try when a connection ends or a client comes.
                Err(_) => break,
            }
        }
    }

    fn add(&mut self, stream: HostStream) {
        let port = self.free_port();
        let events = EventSet::IN | EventSet::OUT | EventSet::READ_HANG_UP | EventSet::EDGE_TRIGGERED;
        let event = EpollEvent::new(events, u64::from(port));
        // Without events it cannot be served, and its client sees it close.
        if self.epoll.ctl(ControlOperation::Add, stream.fd(), event).is_ok() {
            self.by_port.insert(port, Connection::new(stream, self.guest_cid, port));
        }
    }

    fn free_port(&mut self) -> u32 {
        loop {
            let port = self.next_port;
            self.next_port = if port == LAST_PORT { FIRST_PORT } else { port + 1 };
            if !self.by_port.contains_key(&port) {
                return port;
            }
        }
    }

    /// Draws the consequences of what a connection has just gone through.
    fn settle(&mut self, port: u32) {
        let Some(connection) = self.by_port.get_mut(&port) else { return };
        if let Some(reset) = connection.take_reset() {
            self.owe_reset(reset);
        }
        let Some(connection) = self.by_port.get(&port) else { return };
        if connection.is_finished() {
            if let Some(connection) = self.by_port.remove(&port) {
                connection.close();
            }
            self.accept_clients();
        } else if connection.has_packet() && !self.ready.contains(&port) {
            self.ready.push_back(port);
        }
    }

    fn owe_reset(&mut self, reset: Header) {
        if self.resets.len() < MAX_RESETS {
            self.resets.push_back(reset);
        }
    }
}
