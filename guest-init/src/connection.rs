//! One connection of the host's, over packets: its bytes pass between them and one end of a socket pair.
//!
//! What the socket does not take at once waits here, and is never more than the credit that the host has with us; so
//! is what we send never more than the credit we have with the host.

use std::collections::VecDeque;

use guest_protocol::packet::{
    HEADER_LENGTH, Header, Operation, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read};
use rustix::net::{SendFlags, Shutdown, send, shutdown};

/// The host's credit: what it may send beyond what the socket has taken.
const BUFFER: u32 = 64 << 10;

pub struct Connection {
    socket: OwnedFd,
    /// A packet to the host, without what differs between packets.
    header: Header,
    /// It has been said that the connection is accepted.
    accepted: bool,
    /// SHUTDOWN flags that the host has heard from us, and we from it.
    told: u32,
    heard: u32,
    /// What our socket's other end does no more: it has sent its last byte, or takes no more.
    socket_ended: bool,
    socket_gone: bool,
    /// Bytes for the socket.
    backlog: VecDeque<u8>,
    /// Bytes that have left our buffer, and what the host knows of it.
    forwarded: u32,
    announced: u32,
    credit_wanted: bool,
    /// Bytes sent to the host, and how it describes its buffer.
    sent: u32,
    host_buffer: u32,
    host_forwarded: u32,
    finished: bool,
}

impl Connection {
    /// The answer to a request for one.
    pub fn answer(request: &Header, socket: OwnedFd) -> Connection {
        Connection {
            socket,
            header: Header { buffer_size: BUFFER, ..request.reset() },
            accepted: false,
            told: 0,
            heard: 0,
            socket_ended: false,
            socket_gone: false,
            backlog: VecDeque::new(),
            forwarded: 0,
            announced: 0,
            credit_wanted: false,
            sent: 0,
            host_buffer: request.buffer_size,
            host_forwarded: request.forwarded,
            finished: false,
        }
    }

    /// What is waited for at the socket; `room` says whether there is any for another packet to the host.
    pub fn interest(&self, room: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        if self.socket_gone {
            return None;
        }
        let mut flags = PollFlags::empty();
        if room && self.may_read() && self.credit() > 0 {
            flags |= PollFlags::IN;
        }
        if !self.backlog.is_empty() {
            flags |= PollFlags::OUT;
        }
        // Without a flag, that the other end has been closed shows, which is of use once it has sent its last byte.
        (!flags.is_empty() || (room && self.socket_ended)).then(|| (self.socket.as_fd(), flags))
    }

    pub fn take_packet(&mut self, header: &Header, payload: &[u8]) {
        (self.host_buffer, self.host_forwarded) = (header.buffer_size, header.forwarded);
        match header.operation {
            Operation::Data => {
                self.backlog.extend(payload);
                self.flush();
            }
            Operation::Shutdown => {
                self.heard |= header.flags & SHUTDOWN_BOTH;
                if self.heard & SHUTDOWN_RECEIVE != 0 {
                    // Whoever writes learns that nobody reads.
                    let _ = shutdown(&self.socket, Shutdown::Read);
                }
                self.flush();
            }
            Operation::CreditRequest => self.credit_wanted = true,
            Operation::CreditUpdate => {}
            // The host is done with it, but what it has sent is still to be read.
            _ => {
                self.heard = SHUTDOWN_BOTH;
                self.told = SHUTDOWN_BOTH;
                self.flush();
            }
        }
    }

    /// Gives the socket what it takes.
    pub fn flush(&mut self) {
        while !self.backlog.is_empty() && !self.socket_gone {
            match send(&self.socket, self.backlog.as_slices().0, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    self.forwarded = self.forwarded.wrapping_add(count as u32);
                    self.backlog.drain(..count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.socket_gone = true,
            }
        }
        if self.socket_gone {
            self.forwarded = self.forwarded.wrapping_add(self.backlog.len() as u32);
            self.backlog.clear();
        }
        if self.heard & SHUTDOWN_SEND != 0 {
            let _ = shutdown(&self.socket, Shutdown::Write);
        }
        // Told by the host that it has left, or left by it with its last word: nothing more passes.
        self.finished |= self.told == SHUTDOWN_BOTH && self.heard == SHUTDOWN_BOTH;
    }

    /// The next packet for the host, of at most `room` bytes of payload.
    pub fn next_packet(&mut self, room: usize) -> Option<Vec<u8>> {
        if !self.accepted {
            self.accepted = true;
            return Some(self.packet(Operation::Response, 0, &[]));
        }
        if self.finished {
            return None;
        }
        if self.may_read() && self.credit() > 0 {
            let mut bytes = vec![0; room.min(self.credit() as usize)];
            match read(&self.socket, &mut bytes) {
                Ok(0) => self.socket_ended = true,
                Ok(count) => {
                    self.sent = self.sent.wrapping_add(count as u32);
                    return Some(self.packet(Operation::Data, 0, &bytes[..count]));
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => (self.socket_ended, self.socket_gone) = (true, true),
            }
        }
        if self.socket_ended && !self.socket_gone {
            self.socket_gone = is_closed(&self.socket);
        }
        let over = |over: bool, flag| if over { flag } else { 0 };
        let flags = over(self.socket_ended, SHUTDOWN_SEND) | over(self.socket_gone, SHUTDOWN_RECEIVE);
        if flags & !self.told != 0 {
            self.told |= flags;
            let packet = self.packet(Operation::Shutdown, self.told, &[]);
            if self.told == SHUTDOWN_BOTH {
                self.finished = true;
            }
            return Some(packet);
        }
        if self.heard == SHUTDOWN_BOTH && self.backlog.is_empty() {
            self.finished = true;
            return Some(self.packet(Operation::Reset, 0, &[]));
        }
        let due = self.credit_wanted || self.forwarded.wrapping_sub(self.announced) >= BUFFER / 2;
        due.then(|| self.packet(Operation::CreditUpdate, 0, &[]))
    }

    pub fn is_finished(&self) -> bool {
        self.finished && self.backlog.is_empty()
    }

    fn may_read(&self) -> bool {
        self.accepted && !self.socket_ended && self.heard & SHUTDOWN_RECEIVE == 0
    }

    /// Bytes that the host has room for.
    fn credit(&self) -> u32 {
        self.host_buffer.saturating_sub(self.sent.wrapping_sub(self.host_forwarded))
    }

    fn packet(&mut self, operation: Operation, flags: u32, payload: &[u8]) -> Vec<u8> {
        self.announced = self.forwarded;
        self.credit_wanted = false;
        let length = payload.len() as u32;
        let header = Header { operation, flags, length, forwarded: self.forwarded, ..self.header };
        let mut packet = Vec::with_capacity(HEADER_LENGTH + payload.len());
        packet.extend_from_slice(&header.to_bytes());
        packet.extend_from_slice(payload);
        packet
    }
}

/// Whether the other end takes no more bytes either.
fn is_closed(socket: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok()
        && fds[0].revents().contains(PollFlags::HUP)
}
