use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::connection::BUFFER_SIZE;
use super::connections::MAX_CONNECTIONS;
use super::mock_guest::{Guest, PATIENCE, PORT, read_line};
use super::packet::*;
use super::*;
use crate::virtio::block::disk::{Part, temporary_file};
use crate::virtio::mock_driver::MockDriver;
use crate::virtio::pmem::mapping::Mapping;

fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..length).map(step).collect()
}

#[test]
fn bytes_from_the_guest_reach_a_slow_client() {
    let mut guest = Guest::new("to-client");
    let mut client = guest.connected();
    let bytes = pattern(11 << 20);
    let reader = std::thread::spawn(move || {
        let mut all: Vec<u8> = Vec::new();
        let mut piece = vec![0; 100_003];
        loop {
            let count = client.read(&mut piece).unwrap();
            if count == 0 {
                return all;
            }
            all.extend(&piece[..count]);
            if all.len() / (1 << 20) != (all.len() - count) / (1 << 20) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    let mut rest = &bytes[..];
    let mut stalls = 0;
    while !rest.is_empty() {
        let before = rest.len();
        rest = guest.send_data(rest);
        stalls += usize::from(rest.len() == before);
        guest.take_packets();
    }
    assert!(stalls > 0, "the client was never slower than the guest");
    guest.send_packet(Header { flags: SHUTDOWN_SEND, ..guest.packet(Operation::Shutdown) }, &[]);
    while guest.device.drain() {
        guest.take_packets();
    }
    assert!(reader.join().unwrap() == bytes);
}

#[test]
fn bytes_from_a_client_reach_a_slow_guest() {
    let mut guest = Guest::new("to-guest");
    let mut client = guest.connected();
    let bytes = pattern(11 << 20);
    let writer = std::thread::spawn({
        let bytes = bytes.clone();
        move || {
            client.write_all(&bytes).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            answer
        }
    });
    let mut idle = 0;
    while guest.operations().last() != Some(&Operation::Shutdown) {
        assert!(
            guest.inbox.len() as u32 - guest.forwarded <= guest.buffer_size,
            "sent beyond the guest's credit"
        );
        guest.packets.clear();
        idle = if guest.take_packets() { 0 } else { idle + 1 };
        if idle > 50 {
            guest.consume();
        }
    }
    assert!(guest.inbox == bytes);
    let shutdown = guest.packets.last().unwrap();
    assert_eq!(shutdown.flags, SHUTDOWN_SEND, "the client still reads");
    guest.send_data(b"got all");
    guest.send_packet(Header { flags: SHUTDOWN_BOTH, ..guest.packet(Operation::Shutdown) }, &[]);
    assert_eq!(writer.join().unwrap(), "got all");
    assert_eq!(guest.wait_for(Operation::Reset).source_port, guest.host_port);
}

#[test]
fn what_a_guest_maps_of_an_image_reaches_a_slow_client() {
    let mut guest = Guest::new("image");
    let bytes = pattern(BUFFER_SIZE as usize);
    let mut file = temporary_file();
    file.write_all(&bytes).unwrap();
    let part = Part { file: file.try_clone().unwrap(), length: bytes.len() as u64 };
    guest.images = vec![(MockDriver::RAM, Arc::new(Mapping::shared(&[part]).unwrap()))];
    guest.device.reset();
    guest.bring_up();
    let mut client = guest.connected();
    let piece = BUFFER_SIZE / 4;
    (0..4).for_each(|at| guest.send_from(MockDriver::RAM + u64::from(at * piece), piece));
    assert!(guest.device.drain(), "the client's socket took everything: there was no copy to be made");
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; BUFFER_SIZE as usize];
        client.read_exact(&mut all).unwrap();
        (client, all)
    });
    while !reader.is_finished() {
        guest.take_packets();
    }
    let (mut client, all) = reader.join().unwrap();
    assert!(all == bytes);
    // What is gone is not sent as something else.
    file.set_len(0).unwrap();
    guest.send_from(MockDriver::RAM, 100);
    assert_eq!(guest.wait_for(Operation::Reset).source_port, guest.host_port);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn both_ways_at_once() {
    let mut guest = Guest::new("both");
    let mut client = guest.connected();
    let bytes = pattern(3 << 20);
    let mut reading = client.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        reading.read_to_end(&mut all).unwrap();
        all
    });
    let writer = std::thread::spawn({
        let bytes = bytes.clone();
        move || {
            client.write_all(&bytes).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        }
    });
    let mut rest = &bytes[..];
    while !rest.is_empty() || guest.inbox.len() < bytes.len() {
        rest = guest.send_data(rest);
        if guest.take_packets() && guest.inbox.len() as u32 - guest.forwarded > 100_000 {
            guest.consume();
        }
    }
    guest.send_packet(Header { flags: SHUTDOWN_SEND, ..guest.packet(Operation::Shutdown) }, &[]);
    while guest.device.drain() {
        guest.take_packets();
    }
    writer.join().unwrap();
    assert!(reader.join().unwrap() == bytes && guest.inbox == bytes);
}

#[test]
fn a_refused_connection_closes_without_a_line() {
    let mut guest = Guest::new("refused");
    let mut client = guest.client();
    client.write_all(b"CONNECT 7\n").unwrap();
    assert_eq!(guest.wait_for(Operation::Request).destination_port, 7);
    guest.send_packet(Header { source_port: 7, ..guest.packet(Operation::Reset) }, &[]);
    assert_eq!(client.read(&mut [0; 9]).unwrap(), 0);
}

#[test]
fn greetings_come_in_pieces_or_are_refused() {
    let mut guest = Guest::new("greeting");
    for wrong in
        ["HELLO 1\n", "CONNECT x\n", "CONNECT 4294967296\n", "CONNECT 1 and so on and on and on\n", "\n"]
    {
        let mut client = guest.client();
        client.write_all(wrong.as_bytes()).unwrap();
        // Once to accept it, once to read the line.
        guest.take_packets();
        guest.take_packets();
        assert_eq!(client.read(&mut [0; 9]).unwrap(), 0, "{wrong:?}");
    }
    let mut client = guest.client();
    for piece in ["CON", "NECT ", "52"] {
        client.write_all(piece.as_bytes()).unwrap();
        assert!(!guest.take_packets());
    }
    client.write_all(b"\nand the first bytes").unwrap();
    guest.wait_for(Operation::Request);
    guest.send(Operation::Response);
    assert_eq!(read_line(&mut client), format!("OK {}\n", guest.host_port));
    guest.wait_for(Operation::Data);
    assert_eq!(guest.inbox, b"and the first bytes");
}

#[test]
fn a_client_may_come_before_the_driver() {
    let mut guest = Guest::new("early");
    guest.device.reset();
    let mut client = guest.client();
    client.write_all(b"CONNECT 52\n").unwrap();
    guest.device.events_ready();
    guest.device.reset();
    guest.bring_up();
    guest.wait_for(Operation::Request);
    guest.send(Operation::Response);
    assert_eq!(read_line(&mut client), format!("OK {}\n", guest.host_port));
}

#[test]
fn what_the_guest_sent_outlives_its_end() {
    let bytes = pattern(BUFFER_SIZE as usize);
    let endings: [fn(&mut Guest); 3] = [
        |guest| guest.send_packet(Header { flags: SHUTDOWN_BOTH, ..guest.packet(Operation::Shutdown) }, &[]),
        |guest| guest.send(Operation::Reset),
        |guest| guest.device.reset(),
    ];
    for (number, end) in endings.into_iter().enumerate() {
        let mut guest = Guest::new(&format!("end-{number}"));
        let mut client = guest.connected();
        client.write_all(b"never read by the guest").unwrap();
        // More than a Unix socket holds, so that some of it waits in the monitor.
        let mut all = Vec::new();
        while !guest.device.connections.has_backlog() {
            all.extend(&bytes[..bytes.len() - guest.send_data(&bytes).len()]);
            guest.take_packets();
        }
        end(&mut guest);
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            client.read_to_end(&mut got).map(|_| got)
        });
        let until = Instant::now() + PATIENCE;
        while guest.device.drain() {
            guest.device.events_ready();
            assert!(Instant::now() < until);
        }
        assert!(reader.join().unwrap().unwrap() == all, "ending {number}");
    }
}

#[test]
fn a_client_that_leaves_ends_the_guests_side() {
    let mut guest = Guest::new("leaves");
    let mut client = guest.connected();
    client.write_all(b"last words").unwrap();
    guest.send_data(b"not read");
    drop(client);
    let shutdown = guest.wait_for(Operation::Shutdown);
    if shutdown.flags != SHUTDOWN_BOTH {
        guest.packets.clear();
        assert_eq!(guest.wait_for(Operation::Shutdown).flags, SHUTDOWN_BOTH);
    }
    assert_eq!(guest.inbox, b"last words");
    // The connection is forgotten: its port is unknown now.
    guest.packets.clear();
    guest.send_data(b"?");
    guest.wait_for(Operation::Reset);
}

#[test]
fn packets_for_nobody_are_reset_or_ignored() {
    let mut guest = Guest::new("nobody");
    guest.host_port = 99;
    for operation in [Operation::Request, Operation::Response, Operation::Data, Operation::Shutdown] {
        guest.send(operation);
        assert_eq!(guest.wait_for(Operation::Reset).destination_port, PORT);
        guest.packets.clear();
    }
    guest.send(Operation::Reset);
    guest.send(Operation::CreditUpdate);
    guest.send_packet(Header { source_cid: 9, ..guest.packet(Operation::Request) }, &[]);
    guest.send_packet(Header { destination_cid: 1, ..guest.packet(Operation::Request) }, &[]);
    assert!(!guest.take_packets());
}

#[test]
fn a_guest_that_breaks_the_protocol_loses_the_connection() {
    let breaches: [fn(&mut Guest); 6] = [
        |guest| guest.send(Operation::Request),
        |guest| guest.send(Operation::Response),
        |guest| guest.send(Operation::Invalid),
        |guest| guest.send_packet(Header { kind: 2, ..guest.packet(Operation::Data) }, &[]),
        |guest| guest.send_packet(Header { length: 1, ..guest.packet(Operation::Data) }, &[]),
        |guest| {
            let bytes = pattern(64 << 10);
            // The client does not read, and its socket holds less than this.
            for _ in 0..BUFFER_SIZE / (64 << 10) * 4 {
                let header = Header { length: bytes.len() as u32, ..guest.packet(Operation::Data) };
                guest.send_packet(header, &bytes);
            }
        },
    ];
    for (number, breach) in breaches.into_iter().enumerate() {
        let mut guest = Guest::new(&format!("breach-{number}"));
        let mut client = guest.connected();
        breach(&mut guest);
        guest.wait_for(Operation::Reset);
        let mut sink = Vec::new();
        client.read_to_end(&mut sink).unwrap();
    }
}

#[test]
fn a_flood_of_resets_is_bounded() {
    let mut guest = Guest::new("flood");
    for port in 0..2000 {
        guest.host_port = port;
        guest.send(Operation::Request);
    }
    let mut resets = 0;
    while guest.take_packets() {
        resets += std::mem::take(&mut guest.packets).len();
    }
    assert!((1..2000).contains(&resets), "{resets}");
}

#[test]
fn more_clients_than_places_wait_for_one() {
    let mut guest = Guest::new("crowd");
    let mut clients: Vec<_> = (0..MAX_CONNECTIONS).map(|_| guest.client()).collect();
    for _ in 0..10 {
        guest.take_packets();
    }
    let mut late = guest.client();
    late.write_all(b"CONNECT 52\n").unwrap();
    for _ in 0..10 {
        assert!(!guest.take_packets());
    }
    drop(clients.pop());
    guest.wait_for(Operation::Request);
}

#[test]
fn a_client_that_waits_for_credit_asks_once() {
    let mut guest = Guest::new("credit");
    guest.buffer_size = 10;
    let mut client = guest.connected();
    client.set_nonblocking(true).unwrap();
    client.write_all(b"0123456789abcdef").unwrap();
    guest.wait_for(Operation::CreditRequest);
    for _ in 0..5 {
        guest.take_packets();
    }
    assert_eq!(guest.operations(), [Operation::Data, Operation::CreditRequest]);
    guest.consume();
    guest.take_packets();
    assert_eq!(guest.inbox, b"0123456789abcdef");
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn the_guest_can_stop_receiving_alone() {
    let mut guest = Guest::new("deaf");
    let mut client = guest.connected();
    guest.send_packet(Header { flags: SHUTDOWN_RECEIVE, ..guest.packet(Operation::Shutdown) }, &[]);
    assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    guest.send_data(b"still talking");
    guest.send_packet(Header { flags: SHUTDOWN_SEND, ..guest.packet(Operation::Shutdown) }, &[]);
    let mut heard = String::new();
    client.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "still talking");
    guest.wait_for(Operation::Reset);
}

#[test]
fn buffers_without_room_are_returned() {
    let mut guest = Guest::new("tiny");
    let _client = guest.client().write_all(b"CONNECT 52\n");
    guest.device.reset();
    guest.driver = MockDriver::new(guest.device.queue_sizes());
    guest.driver.activate_with(&mut guest.device, COMMON_FEATURES);
    let tiny = guest.driver.writable(HEADER_LENGTH - 1);
    guest.driver.queues[RECEIVE].add(&[tiny]);
    guest.device.events_ready();
    assert_eq!(guest.driver.queues[RECEIVE].take_used(), Some((0, 0)));
}

#[test]
fn configuration_is_the_context_id() {
    let guest = Guest::new("config");
    let mut bytes = [0xff; 10];
    guest.device.read_config(0, &mut bytes);
    assert_eq!(bytes, [3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}
