//! One connection between a client on the host and a process in the guest, from the client's greeting to the end.
//!
//! Bytes for the guest stay in the client's socket until the guest has both a buffer and credit for them. Bytes for
//! the client go to its socket at once; what the socket does not take waits in a backlog that is never longer than the
//! credit we give, [`BUFFER_SIZE`]. So a side that does not read stops the other side, and nothing grows.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};

use super::packet::{HOST_CID, Header, Operation, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND, STREAM};
use super::stream::HostStream;
use crate::virtio::chain::Buffers;

/// The credit that a guest has with us, a connection: what it may send beyond what the client has read.
pub const BUFFER_SIZE: u32 = 256 << 10;
/// The guest is told of new credit once it is this much.
const CREDIT_STEP: u32 = BUFFER_SIZE / 2;
/// Bytes of payload in one packet for the guest, as in Linux's own transports.
const MAX_PAYLOAD: usize = 64 << 10;
/// A greeting is `CONNECT <port>\n`.
const MAX_GREETING: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The client has not yet said which port it wants.
    Greeting,
    /// The guest is to be asked, or has been.
    Requested {
        sent: bool,
    },
    Open,
    /// The guest is done with the connection; the backlog is still on its way to the client.
    Draining,
    Finished,
}

#[derive(Debug)]
pub struct Connection {
    stream: HostStream,
    guest_cid: u64,
    host_port: u32,
    guest_port: u32,
    phase: Phase,

    /// The socket may have input: set by its events, cleared by reading it empty.
    readable: bool,
    /// The client has sent its last byte, and we have read it.
    client_ended: bool,
    /// The client takes no more bytes.
    client_gone: bool,
    /// SHUTDOWN flags that the guest has heard from us, and we from it.
    told: u32,
    heard: u32,

    /// Bytes sent to the guest, and how its packets describe its buffer.
    sent: u32,
    guest_buffer: u32,
    guest_forwarded: u32,
    /// The guest was asked for its credit, and has not answered with any.
    credit_asked: bool,

    /// Bytes received from the guest, those of them that are off our hands, and what of that it has heard.
    received: u32,
    forwarded: u32,
    announced: u32,
    backlog: VecDeque<u8>,
    /// The guest asked for our credit.
    credit_wanted: bool,
    /// The guest is to be told that the connection is gone.
    reset_owed: bool,
}

impl Connection {
    pub fn new(stream: HostStream, guest_cid: u64, host_port: u32) -> Self {
        Self {
            stream,
            guest_cid,
            host_port,
            guest_port: 0,
            phase: Phase::Greeting,
            readable: true,
            client_ended: false,
            client_gone: false,
            told: 0,
            heard: 0,
            sent: 0,
            guest_buffer: 0,
            guest_forwarded: 0,
            credit_asked: false,
            received: 0,
            forwarded: 0,
            announced: 0,
            backlog: VecDeque::new(),
            credit_wanted: false,
            reset_owed: false,
        }
    }

    /// The socket's input, its readiness for output, or its end changed.
    pub fn client_event(&mut self, readable: bool, writable: bool, gone: bool) {
        self.readable |= readable;
        self.client_gone |= gone;
        match self.phase {
            Phase::Greeting => self.greet(),
            Phase::Requested { sent } if self.client_gone => {
                self.reset_owed = sent;
                self.phase = Phase::Finished;
            }
            Phase::Open | Phase::Draining if writable || gone => self.flush_backlog(),
            _ => {}
        }
    }

    /// A packet from the guest for this connection, with `header.length` bytes of payload.
    pub fn guest_packet(&mut self, header: &Header, payload: &Buffers) {
        self.guest_buffer = header.buffer_size;
        self.guest_forwarded = header.forwarded;
        self.credit_asked &= self.credit() == 0;
        match (self.phase, header.operation) {
            (Phase::Requested { sent: true }, Operation::Response) => self.open(),
            (Phase::Requested { sent: true }, Operation::Reset) => self.phase = Phase::Finished,
            (Phase::Open, Operation::Data) => self.take_data(payload),
            (Phase::Open, Operation::Shutdown) => self.take_shutdown(header.flags & SHUTDOWN_BOTH),
            (Phase::Open, Operation::CreditRequest) => self.credit_wanted = true,
            (Phase::Open, Operation::CreditUpdate) => {}
            (Phase::Open, Operation::Reset) => self.leave_guest(),
            _ => self.break_off(),
        }
    }

    /// The next packet for the guest, its payload in `room`.
    pub fn next_packet(&mut self, room: &Buffers) -> Option<Header> {
        match self.phase {
            Phase::Requested { sent: false } => {
                self.phase = Phase::Requested { sent: true };
                Some(self.header(Operation::Request))
            }
            Phase::Open => self.next_open_packet(room),
            _ => None,
        }
    }

    /// Whether [`next_packet`](Self::next_packet) is worth calling, as far as we know without asking the socket.
    pub fn has_packet(&self) -> bool {
        match self.phase {
            Phase::Requested { sent } => !sent,
            Phase::Open => {
                let data = self.may_read() && (self.credit() > 0 || !self.credit_asked);
                data || self.shutdown_due() || self.credit_due()
            }
            _ => false,
        }
    }

    /// The device lost its driver: what the guest has sent still goes to the client, and a client that the guest has
    /// not heard of can wait for the next driver.
    pub fn driver_lost(&mut self) {
        match self.phase {
            Phase::Requested { sent: true } => self.phase = Phase::Finished,
            Phase::Open => self.leave_guest(),
            _ => {}
        }
        self.reset_owed = false;
    }

    /// Whether the guest, as far as it knows, has this connection between `guest_port` and ours.
    pub fn is_known_as(&self, guest_port: u32) -> bool {
        matches!(self.phase, Phase::Requested { sent: true } | Phase::Open) && self.guest_port == guest_port
    }

    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// Whether bytes of the guest wait for the client.
    pub fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// The reset that the guest must be sent, once.
    pub fn take_reset(&mut self) -> Option<Header> {
        std::mem::take(&mut self.reset_owed).then(|| self.header(Operation::Reset))
    }

    pub fn close(self) {
        self.stream.close();
    }

    /// Reads the client's greeting, when it has come whole, and nothing after it.
    fn greet(&mut self) {
        let mut bytes = [0; MAX_GREETING];
        let line = match self.stream.peek(&mut bytes) {
            Ok(count) => bytes[..count].iter().position(|&byte| byte == b'\n').map(|at| at + 1).ok_or(count),
            Err(error) if waits(&error) => return,
            Err(_) => Err(0),
        };
        self.phase = match line {
            Ok(length) => {
                match self.stream.take(&mut bytes[..length]).ok().and_then(|_| port_of(&bytes[..length])) {
                    Some(port) => {
                        self.guest_port = port;
                        Phase::Requested { sent: false }
                    }
                    None => Phase::Finished,
                }
            }
            Err(count) if count == 0 || count == MAX_GREETING || self.client_gone => Phase::Finished,
            Err(_) => Phase::Greeting,
        };
    }

    /// The guest accepted. The socket has nothing in its way yet, so it takes the line whole.
    fn open(&mut self) {
        let line = format!("OK {}\n", self.host_port);
        match self.stream.send_bytes(line.as_bytes()) {
            Ok(count) if count == line.len() => self.phase = Phase::Open,
            _ => self.break_off(),
        }
    }

    fn take_data(&mut self, payload: &Buffers) {
        let length = payload.len() as u32;
        let held = self.received.wrapping_sub(self.forwarded);
        if self.heard & SHUTDOWN_SEND != 0 || length > BUFFER_SIZE.saturating_sub(held) {
            return self.break_off();
        }
        self.received = self.received.wrapping_add(length);
        let sent = match self.backlog.is_empty() && !self.client_gone {
            true => self.stream.send(payload),
            false => Ok(0),
        };
        if sent.as_ref().is_err_and(is_fault) {
            return self.break_off();
        }
        let sent = self.sent_to_client(sent);
        if self.client_gone {
            self.forwarded = self.received;
        } else if let Some((_, rest)) = payload.split_at(sent) {
            let mut bytes = vec![0; rest.len()];
            if rest.copy_to(&mut bytes) < bytes.len() {
                return self.break_off();
            }
            self.backlog.extend(bytes);
            debug_assert!(self.backlog.len() <= BUFFER_SIZE as usize);
        }
    }

    fn flush_backlog(&mut self) {
        while !self.client_gone && !self.backlog.is_empty() {
            let sent = self.stream.send_bytes(self.backlog.as_slices().0);
            match self.sent_to_client(sent) {
                0 => break,
                count => drop(self.backlog.drain(..count)),
            }
        }
        if self.client_gone {
            self.forwarded = self.received;
            self.backlog.clear();
        }
        if self.backlog.is_empty() {
            // Give the memory back: most connections never need it again.
            self.backlog = VecDeque::new();
            self.backlog_empty();
        }
    }

    fn sent_to_client(&mut self, sent: io::Result<usize>) -> usize {
        match sent {
            Ok(count) => {
                self.forwarded = self.forwarded.wrapping_add(count as u32);
                count
            }
            Err(error) => {
                self.client_gone |= !waits(&error);
                0
            }
        }
    }

    fn backlog_empty(&mut self) {
        match self.phase {
            Phase::Draining => self.phase = Phase::Finished,
            _ if self.heard & SHUTDOWN_SEND != 0 => self.stream.end_output(),
            _ => {}
        }
    }

    fn take_shutdown(&mut self, flags: u32) {
        let new = flags & !self.heard;
        self.heard |= flags;
        if self.heard == SHUTDOWN_BOTH {
            self.reset_owed = true;
            return self.leave_guest();
        }
        if new & SHUTDOWN_RECEIVE != 0 {
            self.stream.end_input();
        }
        if new & SHUTDOWN_SEND != 0 && self.backlog.is_empty() {
            self.backlog_empty();
        }
    }

    fn next_open_packet(&mut self, room: &Buffers) -> Option<Header> {
        if self.may_read()
            && self.credit() > 0
            && !room.is_empty()
            && let Some(packet) = self.next_data(room)
        {
            return Some(packet);
        }
        if self.shutdown_due() {
            return Some(self.next_shutdown());
        }
        if self.may_read() && self.credit() == 0 && !self.credit_asked {
            self.credit_asked = true;
            return Some(self.header(Operation::CreditRequest));
        }
        self.credit_due().then(|| self.header(Operation::CreditUpdate))
    }

    fn next_data(&mut self, room: &Buffers) -> Option<Header> {
        let length = room.len().min(self.credit() as usize).min(MAX_PAYLOAD);
        match self.stream.receive(&room.first(length)) {
            Ok(0) => self.client_ended = true,
            Ok(count) => {
                self.sent = self.sent.wrapping_add(count as u32);
                return Some(Header { length: count as u32, ..self.header(Operation::Data) });
            }
            Err(error) if waits(&error) => self.readable = false,
            // A reset is how a Unix socket says that its client left without reading all of our bytes.
            Err(_) => (self.client_ended, self.client_gone) = (true, true),
        }
        None
    }

    /// Tells the guest which directions are over; when both are, it has heard the last of us.
    fn next_shutdown(&mut self) -> Header {
        let towards_guest_over = self.client_ended || self.heard & SHUTDOWN_RECEIVE != 0;
        let towards_client_over = self.client_gone || self.heard & SHUTDOWN_SEND != 0;
        if towards_guest_over && towards_client_over {
            self.told = SHUTDOWN_BOTH;
            self.leave_guest();
        } else {
            self.told |= self.shutdown_flags();
        }
        Header { flags: self.told, ..self.header(Operation::Shutdown) }
    }

    fn shutdown_due(&self) -> bool {
        self.shutdown_flags() & !self.told != 0
    }

    fn shutdown_flags(&self) -> u32 {
        let send = if self.client_ended { SHUTDOWN_SEND } else { 0 };
        let receive = if self.client_gone { SHUTDOWN_RECEIVE } else { 0 };
        send | receive
    }

    fn may_read(&self) -> bool {
        self.readable && !self.client_ended && self.heard & SHUTDOWN_RECEIVE == 0
    }

    /// Bytes that the guest has room for.
    fn credit(&self) -> u32 {
        let in_flight = self.sent.wrapping_sub(self.guest_forwarded);
        self.guest_buffer.saturating_sub(in_flight)
    }

    fn credit_due(&self) -> bool {
        self.credit_wanted || self.forwarded.wrapping_sub(self.announced) >= CREDIT_STEP
    }

    /// The guest broke the protocol, or the client cannot be served: both are told that it is over.
    pub fn break_off(&mut self) {
        self.reset_owed = true;
        self.phase = Phase::Finished;
    }

    /// Nothing more passes between us and the guest.
    fn leave_guest(&mut self) {
        self.phase = match self.backlog.is_empty() || self.client_gone {
            true => Phase::Finished,
            false => Phase::Draining,
        };
    }

    fn header(&mut self, operation: Operation) -> Header {
        self.announced = self.forwarded;
        self.credit_wanted = false;
        Header {
            source_cid: HOST_CID,
            destination_cid: self.guest_cid,
            source_port: self.host_port,
            destination_port: self.guest_port,
            length: 0,
            kind: STREAM,
            operation,
            flags: 0,
            buffer_size: BUFFER_SIZE,
            forwarded: self.forwarded,
        }
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// What the guest wanted to send is not there any more: a file behind its persistent memory was cut short.
fn is_fault(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EFAULT)
}

/// The port in `CONNECT <port>\n`.
fn port_of(line: &[u8]) -> Option<u32> {
    let line = std::str::from_utf8(line).ok()?;
    let port = line.strip_prefix("CONNECT ")?.trim_end_matches('\n').trim_end_matches('\r');
    port.parse().ok()
}
