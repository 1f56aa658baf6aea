//! The host's connections over a port of a virtio-console, for kernels without vsock: the packets of a socket device
//! (see [`guest_protocol::packet`]) cross the port, and what such a kernel lacks is done here. Each connection is one
//! end of a socket pair, so that whoever uses it need not know.

use std::collections::{BTreeMap, VecDeque};

use guest_protocol::PORT;
use guest_protocol::packet::{
    CHANNEL_PORT, HEADER_LENGTH, Header, LONGEST_ON_PORT, Operation, SHUTDOWN_BOTH,
};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read, write};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::connection::Connection;
use crate::fault::Fault;
use crate::ports;

/// Connections at once; more are refused.
const MAX_CONNECTIONS: usize = 512;

/// While more bytes than this wait for the port, no connection is read.
const MUCH: usize = 128 << 10;

/// How many times the port is read in one turn, so that others get theirs.
const READS_PER_TURN: usize = 64;

/// The most bytes of one packet towards the guest: what the device can send.
const LONGEST_PAYLOAD: usize = 64 << 10;

pub struct Console {
    port: OwnedFd,
    /// Bytes that have come and are not a whole packet yet.
    incoming: Vec<u8>,
    /// Packets, each of which goes to the port in one write.
    outgoing: VecDeque<Vec<u8>>,
    waiting: usize,
    /// By the host's port.
    connections: BTreeMap<u32, Connection>,
    /// New connections' other ends.
    accepted: VecDeque<OwnedFd>,
}

impl Console {
    /// Opens the port.
    pub fn open() -> Result<Console, Fault> {
        Ok(Console::over(ports::open_named(CHANNEL_PORT)?))
    }

    fn over(port: OwnedFd) -> Console {
        Console {
            port,
            incoming: Vec::new(),
            outgoing: VecDeque::new(),
            waiting: 0,
            connections: BTreeMap::new(),
            accepted: VecDeque::new(),
        }
    }

    /// The next connection of the host's (non-blocking).
    pub fn accept(&mut self) -> Option<OwnedFd> {
        self.accepted.pop_front()
    }

    pub fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let out = if self.outgoing.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let room = self.waiting < MUCH;
        let connections = self.connections.values().filter_map(move |connection| connection.interest(room));
        std::iter::once((self.port.as_fd(), PollFlags::IN | out)).chain(connections)
    }

    /// Moves what can be moved without waiting, in both directions.
    pub fn turn(&mut self) {
        self.receive();
        let ports: Vec<u32> = self.connections.keys().copied().collect();
        for port in ports {
            if self.flush() {
                self.serve(port);
            }
        }
        self.flush();
    }

    /// Lets one connection send and take what it can; forgets it when it is over.
    fn serve(&mut self, port: u32) {
        let Some(connection) = self.connections.get_mut(&port) else { return };
        connection.flush();
        while self.waiting < MUCH
            && let Some(packet) = connection.next_packet(LONGEST_ON_PORT - HEADER_LENGTH)
        {
            self.waiting += packet.len();
            self.outgoing.push_back(packet);
        }
        if connection.is_finished() {
            self.connections.remove(&port);
        }
    }

    fn receive(&mut self) {
        let mut chunk = [0; 4096];
        for _ in 0..READS_PER_TURN {
            match read(&self.port, &mut chunk) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(count) => self.incoming.extend_from_slice(&chunk[..count]),
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
            self.take_packets();
        }
    }

    fn take_packets(&mut self) {
        let mut taken = 0;
        while let Some(bytes) = self.incoming[taken..].first_chunk() {
            let header = Header::from_bytes(bytes);
            let length = header.length as usize;
            if length > LONGEST_PAYLOAD {
                // Not the monitor's: nothing that follows can be told apart.
                taken = self.incoming.len();
                break;
            }
            let payload = taken + HEADER_LENGTH;
            if self.incoming.len() - payload < length {
                break;
            }
            let bytes = self.incoming[payload..payload + length].to_vec();
            self.take_packet(&header, &bytes);
            taken = payload + length;
        }
        self.incoming.drain(..taken);
    }

    fn take_packet(&mut self, header: &Header, payload: &[u8]) {
        let port = header.source_port;
        match self.connections.get_mut(&port) {
            Some(connection) => connection.take_packet(header, payload),
            None if header.operation == Operation::Request && header.destination_port == PORT => {
                match self.connect(header) {
                    Ok(connection) => drop(self.connections.insert(port, connection)),
                    Err(_) => self.refuse(header),
                }
            }
            None if matches!(header.operation, Operation::Reset | Operation::CreditUpdate) => {}
            // The host's last word on a connection that has just ended needs no answer.
            None if header.operation == Operation::Shutdown
                && header.flags & SHUTDOWN_BOTH == SHUTDOWN_BOTH => {}
            None => self.refuse(header),
        }
    }

    fn connect(&mut self, request: &Header) -> Result<Connection, Errno> {
        if self.connections.len() >= MAX_CONNECTIONS {
            return Err(Errno::NFILE);
        }
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        self.accepted.push_back(theirs);
        Ok(Connection::answer(request, ours))
    }

    fn refuse(&mut self, header: &Header) {
        let packet = header.reset().to_bytes().to_vec();
        self.waiting += packet.len();
        self.outgoing.push_back(packet);
    }

    /// Writes what the port takes; whether there is room for more.
    fn flush(&mut self) -> bool {
        while let Some(packet) = self.outgoing.front() {
            match write(&self.port, packet) {
                // The driver takes a packet whole or not at all.
                Ok(_) => {
                    self.waiting -= packet.len();
                    self.outgoing.pop_front();
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.waiting < MUCH
    }
}

#[cfg(test)]
#[path = "console_test.rs"]
mod tests;
