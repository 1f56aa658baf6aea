//! A guest for the tests of the socket device: its driver's rings, and one connection as its kernel would keep it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::packet::*;
use super::*;
use crate::virtio::mock_driver::{Buffer, MockDriver};
use crate::virtio::pmem::mapping::Mapping;

pub const CID: u32 = 3;
pub const PORT: u32 = 52;
const ROOM: usize = 4096;
/// How long anything may take that should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A guest with one connection's worth of state, and the socket's path on the host.
pub struct Guest {
    pub device: VsockDevice,
    pub driver: MockDriver,
    pub path: PathBuf,
    pub received: Vec<Buffer>,
    pub transmitted: Buffer,
    /// The host's port of the connection, once requested.
    pub host_port: u32,
    pub buffer_size: u32,
    pub forwarded: u32,
    pub sent: u32,
    pub host_credit: (u32, u32),
    pub packets: Vec<Header>,
    pub inbox: Vec<u8>,
    /// What the next driver finds in persistent memory.
    pub images: Vec<(u64, Arc<Mapping>)>,
}

impl Guest {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vmrun-vsock-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let device = VsockDevice::bind(CID, &path).unwrap();
        let driver = MockDriver::new(device.queue_sizes());
        let transmitted = Buffer { address: 0, length: 0, writable: false };
        let received = Vec::new();
        let mut guest = Self {
            device,
            driver,
            path,
            received,
            transmitted,
            host_port: 0,
            buffer_size: 256 << 10,
            forwarded: 0,
            sent: 0,
            host_credit: (0, 0),
            packets: Vec::new(),
            inbox: Vec::new(),
            images: Vec::new(),
        };
        guest.bring_up();
        guest
    }

    pub fn bring_up(&mut self) {
        self.driver = MockDriver::beside(self.device.queue_sizes(), self.images.clone());
        self.driver.activate_with(&mut self.device, COMMON_FEATURES);
        self.transmitted = self.driver.writable(HEADER_LENGTH + (64 << 10));
        self.transmitted.writable = false;
        self.received.clear();
        for _ in 0..128 {
            let buffer = self.driver.writable(HEADER_LENGTH + ROOM);
            assert_eq!(usize::from(self.driver.queues[RECEIVE].add(&[buffer])), self.received.len());
            self.received.push(buffer);
        }
        self.device.queue_notified(RECEIVE);
    }

    pub fn client(&self) -> UnixStream {
        let client = UnixStream::connect(&self.path).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// Lets the device work and takes what it sent; true if it sent anything.
    pub fn take_packets(&mut self) -> bool {
        self.device.events_ready();
        let before = self.packets.len();
        while let Some((head, length)) = self.driver.queues[RECEIVE].take_used() {
            let buffer = self.received[head as usize % 128];
            let bytes = self.driver.read(Buffer { length, ..buffer });
            self.driver.queues[RECEIVE].add(&[buffer]);
            let Some(header) = bytes.first_chunk() else { continue };
            let header = Header::from_bytes(header);
            assert_eq!(bytes.len(), HEADER_LENGTH + header.length as usize);
            assert_eq!(
                (header.source_cid, header.destination_cid, header.kind),
                (HOST_CID, u64::from(CID), STREAM)
            );
            self.host_credit = (header.buffer_size, header.forwarded);
            if header.operation == Operation::Request {
                self.host_port = header.source_port;
            }
            self.inbox.extend(&bytes[HEADER_LENGTH..]);
            self.packets.push(header);
        }
        self.device.queue_notified(RECEIVE);
        self.packets.len() > before
    }

    pub fn packet(&self, operation: Operation) -> Header {
        Header {
            source_cid: u64::from(CID),
            destination_cid: HOST_CID,
            source_port: PORT,
            destination_port: self.host_port,
            kind: STREAM,
            operation,
            buffer_size: self.buffer_size,
            forwarded: self.forwarded,
            ..Header::default()
        }
    }

    pub fn send(&mut self, operation: Operation) {
        self.send_packet(self.packet(operation), &[]);
    }

    pub fn send_packet(&mut self, header: Header, payload: &[u8]) {
        use vm_memory::{Bytes, GuestAddress};
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend(payload);
        let length = bytes.len() as u32;
        self.driver.memory.write_slice(&bytes, GuestAddress(self.transmitted.address)).unwrap();
        self.transmit(&[Buffer { length, ..self.transmitted }]);
    }

    fn transmit(&mut self, chain: &[Buffer]) {
        self.driver.queues[TRANSMIT].add(chain);
        self.device.queue_notified(TRANSMIT);
        assert!(self.driver.queues[TRANSMIT].take_used().is_some());
    }

    /// Sends bytes that are in persistent memory, as MSG_ZEROCOPY does with a mapped file.
    pub fn send_from(&mut self, address: u64, length: u32) {
        let header = self.driver.readable(&Header { length, ..self.packet(Operation::Data) }.to_bytes());
        self.transmit(&[header, Buffer { address, length, writable: false }]);
        self.sent += length;
    }

    /// Sends as much of `bytes` as the host has credit for; the rest.
    pub fn send_data<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let free = self.host_credit.0 - self.sent.wrapping_sub(self.host_credit.1);
        let (now, rest) = bytes.split_at(bytes.len().min(free as usize).min(64 << 10));
        if !now.is_empty() {
            let header = Header { length: now.len() as u32, ..self.packet(Operation::Data) };
            self.sent = self.sent.wrapping_add(now.len() as u32);
            self.send_packet(header, now);
        }
        rest
    }

    /// Tells the host that everything received so far was read.
    pub fn consume(&mut self) {
        self.forwarded = self.inbox.len() as u32;
        self.send(Operation::CreditUpdate);
    }

    pub fn operations(&self) -> Vec<Operation> {
        self.packets.iter().map(|packet| packet.operation).collect()
    }

    pub fn wait_for(&mut self, operation: Operation) -> Header {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(&found) = self.packets.iter().find(|packet| packet.operation == operation) {
                return found;
            }
            assert!(Instant::now() < until, "no {operation:?} packet, only {:?}", self.operations());
            self.take_packets();
        }
    }

    /// A client connected to the guest's port.
    pub fn connected(&mut self) -> UnixStream {
        let mut client = self.client();
        client.write_all(format!("CONNECT {PORT}\n").as_bytes()).unwrap();
        let request = self.wait_for(Operation::Request);
        assert_eq!(request.destination_port, PORT);
        self.send(Operation::Response);
        assert_eq!(read_line(&mut client), format!("OK {}\n", self.host_port));
        self.packets.clear();
        client
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

pub fn read_line(client: &mut UnixStream) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}
