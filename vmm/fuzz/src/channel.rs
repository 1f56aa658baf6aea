//! A guest and its clients on the host, both of whom do anything over the packets of a socket device, whichever device
//! carries them: right connections with right bytes, and everything else.
//!
//! Each side sends bytes that tell their position in the stream, so whatever arrives is checked.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicU64, Ordering};

use arbitrary::Arbitrary;
use vmm::virtio::mock_driver::{Buffer, MockDriver};
use vmm::virtio::vsock::packet::{HEADER_LENGTH, HOST_CID, Header, Operation, STREAM};

use crate::{Layout, Session};

/// What the guest is called.
pub const CID: u32 = 3;
const CLIENTS: usize = 4;
/// Where the guest keeps its receive buffers: beyond the heap that its requests use.
const RECEIVE_BUFFERS: u64 = MockDriver::RAM / 2;
const ROOM: u32 = 4096;

#[derive(Arbitrary, Debug)]
pub enum Step {
    /// All that it takes to open a connection.
    Open {
        port: u8,
    },
    /// More bytes than a socket holds, and nearly as many as there is credit for.
    Flood {
        client: u8,
    },
    Connect {
        port: u8,
    },
    Greet {
        line: Vec<u8>,
    },
    ClientWrite {
        client: u8,
        length: u16,
    },
    ClientRead {
        client: u8,
        length: u16,
    },
    ClientEnds {
        client: u8,
        how: u8,
    },
    GiveBuffers {
        count: u8,
        length: Option<u16>,
    },
    Take,
    Accept {
        client: u8,
    },
    Send {
        client: u8,
        length: u16,
        layout: Layout,
    },
    Credit {
        client: u8,
    },
    Packet {
        client: u8,
        operation: u8,
        flags: u8,
        layout: Layout,
    },
    Raw {
        header: [u8; 44],
        payload: Vec<u8>,
        layout: Layout,
    },
    Memory {
        address: u16,
        bytes: [u8; 8],
    },
    Drain,
    Restart,
}

/// A connection as its two ends see it.
#[derive(Default)]
struct Pair {
    socket: Option<UnixStream>,
    greeting: Vec<u8>,
    client_sent: u32,
    client_read: u32,
}

/// The guest's end of a connection, by the host's port.
#[derive(Default)]
struct GuestEnd {
    guest_port: u32,
    sent: u32,
    received: u32,
    host_buffer: u32,
    host_forwarded: u32,
}

/// Where clients connect to.
pub struct Address(SocketAddr);

/// All that there is: the device with its driver, the guest, the clients.
pub struct World<'d> {
    pub session: Session<'d>,
    address: Address,
    pairs: Vec<Pair>,
    ends: HashMap<u32, GuestEnd>,
    ports: Vec<u32>,
    /// The lengths of the receive queue's buffers.
    receive_buffers: Vec<u32>,
    given: usize,
    restarts: usize,
    /// Since something was sent that a right guest does not send, bytes may be missing.
    pub trusted: bool,
}

impl Address {
    /// Where nobody else listens, and who listens there.
    pub fn new() -> (Address, UnixListener) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("vmrun-fuzz-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).expect("address");
        let listener = UnixListener::bind_addr(&address).expect("bind");
        (Address(address), listener)
    }
}

impl<'d> World<'d> {
    pub fn new(session: Session<'d>, address: Address) -> World<'d> {
        let receive_buffers = vec![ROOM; usize::from(session.device.queue_sizes()[0])];
        World {
            session,
            address,
            pairs: Vec::new(),
            ends: HashMap::new(),
            ports: Vec::new(),
            receive_buffers,
            given: 0,
            restarts: 0,
            trusted: true,
        }
    }

    pub fn take(&mut self, step: &Step) {
        match step {
            Step::Open { port } => {
                self.connect(format!("CONNECT {port}\n").as_bytes());
                self.give_buffers(8, None);
                for _ in 0..3 {
                    self.session.device.events_ready();
                }
                self.take_packets();
                let newest = self.ports.len().saturating_sub(1) as u8;
                self.send(newest, Operation::Response, 0, 0, &Layout::default());
            }
            Step::Flood { client } => {
                for _ in 0..4 {
                    self.send(*client, Operation::Data, 0, 55_000, &Layout::default());
                }
            }
            Step::Connect { port } => self.connect(format!("CONNECT {port}\n").as_bytes()),
            Step::Greet { line } => self.connect(line),
            Step::ClientWrite { client, length } => self.client_write(*client, *length),
            Step::ClientRead { client, length } => self.client_read(*client, *length),
            Step::ClientEnds { client, how } => self.client_ends(*client, *how),
            Step::GiveBuffers { count, length } => self.give_buffers(*count, length.map(u32::from)),
            Step::Take => self.take_packets(),
            Step::Accept { client } => self.send(*client, Operation::Response, 0, 0, &Layout::default()),
            Step::Send { client, length, layout } => self.send(*client, Operation::Data, 0, *length, layout),
            Step::Credit { client } => self.send(*client, Operation::CreditUpdate, 0, 0, &Layout::default()),
            Step::Packet { client, operation, flags, layout } => {
                self.send(*client, Operation::from(u16::from(*operation % 9)), u32::from(*flags), 0, layout);
            }
            Step::Raw { header, payload, layout } => {
                self.trusted = false;
                let bytes = [&header[..], payload].concat();
                self.session.request(1, layout, &bytes, 0);
            }
            Step::Memory { address, bytes } => {
                self.trusted = false;
                self.session.write_memory(*address, bytes);
            }
            Step::Drain => drop(self.session.device.drain()),
            Step::Restart => self.session.restart(),
        }
        self.session.device.events_ready();
        self.notice_restart();
    }

    /// All that is on its way arrives.
    pub fn finish(&mut self) {
        for client in 0..CLIENTS as u8 {
            for _ in 0..8 {
                self.client_read(client, u16::MAX);
                self.session.device.events_ready();
            }
        }
    }

    /// The guest's ends of all connections are gone, and the device knows.
    pub fn forget_connections(&mut self) {
        self.ends.clear();
        self.ports.clear();
    }

    /// Whether the device was started anew since somebody asked last.
    pub fn notice_restart(&mut self) -> bool {
        let is_new = self.session.restarts > self.restarts;
        if is_new {
            self.forget_guest();
        }
        is_new
    }

    fn forget_guest(&mut self) {
        (self.given, self.trusted) = (0, false);
        self.restarts = self.session.restarts;
        self.forget_connections();
    }

    fn connect(&mut self, line: &[u8]) {
        if self.pairs.len() < CLIENTS
            && let Ok(mut socket) = UnixStream::connect_addr(&self.address.0)
        {
            socket.set_nonblocking(true).expect("nonblocking");
            let _ = socket.write(&line[..line.len().min(64)]);
            self.pairs.push(Pair { socket: Some(socket), ..Pair::default() });
        }
    }

    fn pair(&mut self, client: u8) -> Option<&mut Pair> {
        let count = self.pairs.len().max(1);
        self.pairs.get_mut(usize::from(client) % count)
    }

    fn client_write(&mut self, client: u8, length: u16) {
        let Some(pair) = self.pair(client) else { return };
        let start = pair.client_sent;
        let bytes: Vec<u8> = (0..u32::from(length)).map(|at| position_byte(start + at)).collect();
        if let Some(Ok(count)) = pair.socket.as_mut().map(|socket| socket.write(&bytes)) {
            pair.client_sent += count as u32;
        }
    }

    fn client_read(&mut self, client: u8, length: u16) {
        let trusted = self.trusted;
        let Some(pair) = self.pair(client) else { return };
        let mut bytes = vec![0; usize::from(length)];
        let Some(Ok(count)) = pair.socket.as_mut().map(|socket| socket.read(&mut bytes)) else { return };
        for &byte in &bytes[..count] {
            if !pair.greeting.ends_with(b"\n") {
                pair.greeting.push(byte);
                assert!(b"OK 0123456789\n".contains(&byte));
            } else {
                assert!(
                    !trusted || byte == position_byte(pair.client_read),
                    "the guest's bytes arrived wrong"
                );
                pair.client_read += 1;
            }
        }
    }

    fn client_ends(&mut self, client: u8, how: u8) {
        let Some(pair) = self.pair(client) else { return };
        if let Some(socket) = &pair.socket {
            match how % 3 {
                0 => drop(socket.shutdown(Shutdown::Write)),
                1 => drop(socket.shutdown(Shutdown::Read)),
                _ => pair.socket = None,
            }
        }
    }

    pub fn give_buffers(&mut self, count: u8, length: Option<u32>) {
        for _ in 0..count % 32 {
            if self.given >= self.receive_buffers.len() {
                break;
            }
            let slot = self.given;
            let length = length.unwrap_or(ROOM).min(ROOM);
            let address = RECEIVE_BUFFERS + slot as u64 * u64::from(ROOM);
            self.receive_buffers[slot] = length;
            self.session.driver.queues[0].write_descriptor(slot as u16, address, length, 2, 0);
            self.session.driver.queues[0].make_available(slot as u16);
            self.given += 1;
        }
        self.session.device.queue_notified(0);
    }

    pub fn take_packets(&mut self) {
        while let Some((slot, length)) = self.session.driver.queues[0].take_used() {
            let slot = slot as usize % self.receive_buffers.len();
            if self.trusted {
                assert!(length <= self.receive_buffers[slot]);
            }
            let address = RECEIVE_BUFFERS + slot as u64 * u64::from(ROOM);
            let bytes =
                self.session.driver.read(Buffer { address, length: length.min(ROOM), writable: true });
            if let Some(header) = bytes.first_chunk() {
                self.take_packet(Header::from_bytes(header), &bytes[HEADER_LENGTH..]);
            }
        }
        // All buffers can be given again once the last was used; a right guest would not wait so long.
        self.given = if self.given >= self.receive_buffers.len() { 0 } else { self.given };
    }

    fn take_packet(&mut self, header: Header, payload: &[u8]) {
        if self.trusted {
            assert_eq!((header.source_cid, header.destination_cid), (HOST_CID, u64::from(CID)));
            assert_eq!((header.kind, header.length as usize), (STREAM, payload.len()));
        }
        let trusted = self.trusted;
        let end = self.ends.entry(header.source_port).or_default();
        if header.operation == Operation::Request {
            end.guest_port = header.destination_port;
            self.ports.push(header.source_port);
        }
        (end.host_buffer, end.host_forwarded) = (header.buffer_size, header.forwarded);
        for &byte in payload {
            assert!(!trusted || byte == position_byte(end.received), "the client's bytes arrived wrong");
            end.received = end.received.wrapping_add(1);
        }
    }

    /// A packet for the connection that was requested `client`th, its bytes within our credit.
    fn send(&mut self, client: u8, operation: Operation, flags: u32, length: u16, layout: &Layout) {
        let Some(&port) = self.ports.get(usize::from(client) % self.ports.len().max(1)) else { return };
        let Some(end) = self.ends.get_mut(&port) else { return };
        let free = end.host_buffer.saturating_sub(end.sent.wrapping_sub(end.host_forwarded));
        let length = u32::from(length).min(free);
        let start = end.sent;
        let header = Header {
            source_cid: u64::from(CID),
            destination_cid: HOST_CID,
            source_port: end.guest_port,
            destination_port: port,
            length,
            kind: STREAM,
            operation,
            flags,
            buffer_size: 256 << 10,
            forwarded: end.received,
        };
        end.sent = end.sent.wrapping_add(length);
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend((0..length).map(|at| position_byte(start.wrapping_add(at))));
        self.trusted &= layout.is_flawless();
        self.session.request(1, layout, &bytes, 0);
    }
}

fn position_byte(position: u32) -> u8 {
    (position.wrapping_mul(0x9e37_79b9) >> 24) as u8
}
