use guest_protocol::packet::{SHUTDOWN_SEND, STREAM};
use rustix::io::{read, write};
use rustix::net::{Shutdown, shutdown};

use super::*;

/// The monitor's side of the port.
struct Host {
    port: OwnedFd,
    console: Console,
    received: Vec<u8>,
}

const HOST_PORT: u32 = 1 << 30;

impl Host {
    fn new() -> Host {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (port, guest) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        Host { port, console: Console::over(guest), received: Vec::new() }
    }

    fn header(operation: Operation) -> Header {
        Header {
            source_cid: 2,
            destination_cid: 3,
            source_port: HOST_PORT,
            destination_port: PORT,
            kind: STREAM,
            operation,
            buffer_size: 256 << 10,
            ..Header::default()
        }
    }

    fn send(&mut self, header: Header, payload: &[u8]) {
        let header = Header { length: payload.len() as u32, ..header };
        write(&self.port, &[&header.to_bytes(), payload].concat()).unwrap();
        self.console.turn();
    }

    fn packet(&mut self) -> Option<(Header, Vec<u8>)> {
        self.console.turn();
        let mut chunk = vec![0; 64 << 10];
        while let Ok(count @ 1..) = read(&self.port, &mut chunk) {
            self.received.extend_from_slice(&chunk[..count]);
        }
        let header = Header::from_bytes(self.received.first_chunk()?);
        let end = HEADER_LENGTH + header.length as usize;
        let payload = self.received[HEADER_LENGTH..end].to_vec();
        self.received.drain(..end);
        Some((header, payload))
    }

    fn connect(&mut self) -> OwnedFd {
        self.send(Host::header(Operation::Request), b"");
        assert_eq!(self.packet().unwrap().0.operation, Operation::Response);
        self.console.accept().unwrap()
    }
}

#[test]
fn bytes_go_both_ways_and_what_has_ended_both_ways_is_over() {
    let mut host = Host::new();
    let connection = host.connect();
    host.send(Host::header(Operation::Data), b"in");
    let mut bytes = [0; 8];
    assert_eq!(read(&connection, &mut bytes), Ok(2));
    write(&connection, b"out").unwrap();
    let (header, payload) = host.packet().unwrap();
    assert_eq!(
        (header.operation, header.destination_port, &*payload),
        (Operation::Data, HOST_PORT, &b"out"[..])
    );
    shutdown(&connection, Shutdown::Write).unwrap();
    let (header, _) = host.packet().unwrap();
    assert_eq!((header.operation, header.flags), (Operation::Shutdown, SHUTDOWN_SEND));
    host.send(Header { flags: SHUTDOWN_SEND, ..Host::header(Operation::Shutdown) }, b"");
    assert_eq!(read(&connection, &mut bytes), Ok(0), "the host's end");
    let (header, _) = host.packet().unwrap();
    assert_eq!((header.operation, header.flags), (Operation::Shutdown, SHUTDOWN_BOTH));
    assert!(host.console.connections.is_empty());
}

#[test]
fn nobody_sends_more_than_the_other_has_room_for() {
    let mut host = Host::new();
    let connection = host.connect();
    let payload = vec![7; 200 << 10];
    let (mut written, mut sent) = (0, 0);
    while let Ok(count) = write(&connection, &payload[written % 1000..]) {
        written += count;
        while let Some((header, _)) = host.packet() {
            sent += header.length;
        }
    }
    assert_eq!(sent, 256 << 10, "the credit that the host has given");
    let update = Header { forwarded: 100, ..Host::header(Operation::CreditUpdate) };
    host.send(update, b"");
    assert_eq!(host.packet().unwrap().0.length, 100);
    // A host that has left takes the guest's end with it.
    host.send(Host::header(Operation::Reset), b"");
    assert!(host.console.connections.is_empty());
    assert!(write(&connection, b"more").is_err());
}

#[test]
fn packets_in_pieces_are_put_together_and_strangers_refused() {
    let mut host = Host::new();
    let stranger = Header { source_port: 7, ..Host::header(Operation::Data) };
    let bytes = [&Host::header(Operation::Request).to_bytes()[..], &stranger.to_bytes()].concat();
    for byte in bytes {
        write(&host.port, &[byte]).unwrap();
        host.console.turn();
    }
    let answers: Vec<_> = std::iter::from_fn(|| host.packet()).map(|(header, _)| header.operation).collect();
    assert!(answers.contains(&Operation::Response) && answers.contains(&Operation::Reset), "{answers:?}");
}
