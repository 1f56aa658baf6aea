use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use guest_protocol::packet::{HEADER_LENGTH, Header, Operation};

use super::*;
use crate::virtio::mock_driver::{Buffer, MockDriver};

const BUFFERS: usize = 16;

/// A driver that has everything but the port open, and what a program behind the port would do.
struct Guest {
    device: ConsoleDevice,
    driver: MockDriver,
    path: std::path::PathBuf,
    receive: Vec<Buffer>,
}

impl Guest {
    fn new(name: &str) -> Guest {
        let path = std::env::temp_dir().join(format!("vmrun-console-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut device = ConsoleDevice::bind(3, &path).unwrap();
        let mut driver = MockDriver::activate(&mut device);
        let receive: Vec<Buffer> = (0..BUFFERS).map(|_| driver.writable(4096)).collect();
        for buffer in &receive {
            driver.queues[RECEIVE].add(&[*buffer]);
        }
        for _ in 0..8 {
            let buffer = driver.writable(64);
            driver.queues[CONTROL_RECEIVE].add(&[buffer]);
        }
        Guest { device, driver, path, receive }
    }

    fn control(&mut self, event: u16, value: u16) {
        let message = [&PORT.to_le_bytes()[..], &event.to_le_bytes(), &value.to_le_bytes()].concat();
        self.driver.request(&mut self.device, CONTROL_TRANSMIT, &[&message], &[]);
    }

    /// What the device has said on its control queue: events, with what follows them.
    fn said(&mut self) -> Vec<(u16, Vec<u8>)> {
        let mut said = Vec::new();
        while let Some((head, length)) = self.driver.queues[CONTROL_RECEIVE].take_used() {
            let address = self.receive[BUFFERS - 1].address + 4096 + u64::from(head) * 64;
            let message = self.driver.read(Buffer { address, length, writable: true });
            said.push((u16::from_le_bytes([message[4], message[5]]), message[8..].to_vec()));
        }
        said
    }

    fn open(&mut self) {
        self.control(DEVICE_READY, 1);
        self.control(PORT_READY, 1);
        self.control(PORT_OPEN, 1);
    }

    /// The next packet that the device sends.
    fn packet(&mut self) -> Option<(Header, Vec<u8>)> {
        self.device.events_ready();
        let (head, length) = self.driver.queues[RECEIVE].take_used()?;
        let bytes = self.driver.read(Buffer { length, ..self.receive[head as usize] });
        let (header, payload) = bytes.split_first_chunk::<HEADER_LENGTH>().unwrap();
        Some((Header::from_bytes(header), payload.to_vec()))
    }

    fn send(&mut self, to: &Header, operation: Operation, payload: &[u8]) {
        let header = Header {
            operation,
            length: payload.len() as u32,
            buffer_size: 1 << 20,
            forwarded: 0,
            ..to.reset()
        };
        self.driver.request(&mut self.device, TRANSMIT, &[&header.to_bytes(), payload], &[]);
    }
}

#[test]
fn a_port_is_made_known_by_its_name() {
    let mut guest = Guest::new("name");
    guest.open();
    let events = [(PORT_ADD, vec![]), (PORT_NAME, b"channel".to_vec()), (PORT_OPEN, vec![])];
    assert_eq!(guest.said(), events);
}

#[test]
fn a_client_talks_to_a_program_behind_the_port() {
    let mut guest = Guest::new("talk");
    let mut client = UnixStream::connect(&guest.path).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.write_all(b"CONNECT 1\nhello").unwrap();
    assert_eq!(guest.packet(), None, "nobody has the port open");
    guest.open();
    let (request, _) = guest.packet().unwrap();
    assert_eq!((request.operation, request.destination_port), (Operation::Request, 1));
    guest.send(&request, Operation::Response, b"");
    let (data, payload) = guest.packet().unwrap();
    assert_eq!((data.operation, &*payload), (Operation::Data, &b"hello"[..]));
    guest.send(&request, Operation::Data, b"and hello");
    let mut answer = vec![0; format!("OK {}\nand hello", request.source_port).len()];
    client.read_exact(&mut answer).unwrap();
    assert!(answer.ends_with(b"\nand hello"));
    // The program ends: so does the connection.
    guest.control(PORT_OPEN, 0);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_guest_that_asks_without_end_is_answered_for_a_while() {
    let mut guest = Guest::new("flood");
    for _ in 0..1000 {
        guest.control(DEVICE_READY, 1);
    }
    assert_eq!(guest.device.messages.len(), MAX_MESSAGES);
    assert_eq!(guest.said().len(), 8, "as many as it gave buffers for");
}
