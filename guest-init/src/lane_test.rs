use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};

use super::*;

fn pipe() -> (OwnedFd, OwnedFd) {
    pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap()
}

fn socket() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap()
}

fn open(fd: OwnedFd) -> End {
    End::Open(Rc::new(fd))
}

fn read_all(from: &OwnedFd, into: &mut Vec<u8>) -> bool {
    let mut chunk = vec![0; 1 << 20];
    loop {
        match read(from, &mut chunk) {
            Ok(0) => return true,
            Ok(count) => into.extend_from_slice(&chunk[..count]),
            Err(_) => return false,
        }
    }
}

#[test]
fn every_byte_arrives_through_back_pressure_and_the_end_after_them() {
    let (source, writer) = pipe();
    let (sink, reader) = socket();
    let mut lane = Lane::new(Stream::Stdout, Way::ToHost, open(source), open(sink));
    let data: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    let (mut sent, mut got, mut ended) = (0, Vec::new(), false);
    let mut writer = Some(writer);
    let mut turns = 0;
    while !ended {
        if let Some(fd) = &writer {
            sent += write(fd, &data[sent..data.len().min(sent + 50_000)]).unwrap_or(0);
            if sent == data.len() {
                writer = None;
            }
        }
        lane.turn(false);
        turns += 1;
        // A slow reader: the lane has to wait with a full buffer.
        if turns % 7 == 0 {
            ended = read_all(&reader, &mut got);
        }
    }
    assert!(got == data);
    assert!(lane.is_over());
}

#[test]
fn a_host_that_comes_late_misses_nothing() {
    let (source, writer) = pipe();
    let mut lane = Lane::new(Stream::Stderr, Way::ToHost, open(source), End::Awaited);
    write(&writer, b"early").unwrap();
    drop(writer);
    lane.turn(false);
    assert!(!lane.is_over(), "nobody has had the bytes");
    let (sink, reader) = socket();
    assert!(lane.attach(&Rc::new(sink), Carriage::Raw));
    lane.turn(false);
    let mut got = Vec::new();
    assert!(read_all(&reader, &mut got));
    assert_eq!(got, b"early");
    assert!(lane.is_over());
}

#[test]
fn the_process_learns_that_nobody_reads() {
    let (source, writer) = pipe();
    let (sink, reader) = socket();
    let mut lane = Lane::new(Stream::Stdout, Way::ToHost, open(source), open(sink));
    drop(reader);
    write(&writer, b"lost").unwrap();
    lane.turn(true);
    assert!(lane.is_over());
    assert_eq!(write(&writer, b"more"), Err(Errno::PIPE));
}

#[test]
fn the_hosts_half_close_closes_standard_input() {
    let (host, ours) = socket();
    let (stdin, sink) = pipe();
    let mut lane = Lane::new(Stream::Stdin, Way::ToProcess, End::Awaited, open(sink));
    lane.attach(&Rc::new(ours), Carriage::Raw);
    write(&host, b"text").unwrap();
    lane.turn(false);
    let mut got = Vec::new();
    assert!(!read_all(&stdin, &mut got));
    shutdown(&host, Shutdown::Write).unwrap();
    lane.turn(false);
    assert!(read_all(&stdin, &mut got));
    assert_eq!(got, b"text");
}

#[test]
fn a_second_connection_of_a_stream_is_refused() {
    let (source, _writer) = pipe();
    let mut lane = Lane::new(Stream::Stdout, Way::ToHost, open(source), End::Awaited);
    let (first, _) = socket();
    let (second, _) = socket();
    assert!(lane.attach(&Rc::new(first), Carriage::Raw));
    assert!(!lane.attach(&Rc::new(second), Carriage::Raw));
}

#[test]
fn a_port_carries_pieces_both_ways() {
    let (port, host) = socket();
    let port = Rc::new(port);
    let (source, writer) = pipe();
    let (stdin, sink) = pipe();
    let mut output = Lane::new(Stream::Stdout, Way::ToHost, open(source), End::Awaited);
    let mut input = Lane::new(Stream::Stdin, Way::ToProcess, End::Awaited, open(sink));
    output.attach(&port, Carriage::Pieces);
    input.attach(&port, Carriage::Pieces);
    write(&writer, b"out").unwrap();
    drop(writer);
    output.turn(false);
    write(&host, b"\x02\0\0\0in\0\0\0\0").unwrap();
    input.turn(false);
    let (mut sent, mut received) = (Vec::new(), Vec::new());
    read_all(&host, &mut sent);
    assert_eq!(sent, b"\x03\0\0\0out\0\0\0\0");
    assert!(read_all(&stdin, &mut received));
    assert_eq!(received, b"in");
}

#[test]
fn pieces_stay_whole_under_back_pressure() {
    let (port, host) = socket();
    let (source, writer) = pipe();
    let mut lane = Lane::new(Stream::Stdout, Way::ToHost, open(source), End::Awaited);
    lane.attach(&Rc::new(port), Carriage::Pieces);
    let data: Vec<u8> = (0..500_000u32).flat_map(u32::to_le_bytes).collect();
    let (mut sent, mut wire, mut turns) = (0, Vec::new(), 0);
    let mut writer = Some(writer);
    while !lane.is_over() {
        if let Some(fd) = &writer {
            sent += write(fd, &data[sent..data.len().min(sent + 65_536)]).unwrap_or(0);
            if sent == data.len() {
                writer = None;
            }
        }
        lane.turn(false);
        turns += 1;
        if turns % 11 == 0 {
            read_all(&host, &mut wire);
        }
    }
    read_all(&host, &mut wire);
    let mut decoder = Decoder::default();
    let length = decoder.decode(&mut wire);
    assert!(decoder.is_ended());
    assert!(wire[..length] == data);
}

#[test]
fn a_writer_outlives_its_host() {
    let (source, writer) = pipe();
    let (sink, reader) = socket();
    let mut lane = Lane::new(Stream::Stdout, Way::ToHost, open(source), open(sink)).outliving_host();
    drop(reader);
    for _ in 0..100 {
        assert_eq!(write(&writer, &[7; 50_000]), Ok(50_000), "it is kept from writing");
        lane.turn(true);
    }
    assert!(!lane.is_over());
    drop(writer);
    lane.turn(false);
    assert!(lane.is_over());
}

#[test]
fn a_host_that_says_it_reads_no_more_is_a_closed_pipe() {
    let (source, writer) = pipe();
    let (sink, _reader) = socket();
    let mut lane = Lane::new(Stream::Stdout, Way::ToHost, open(source), open(sink)).outliving_host();
    lane.refuse();
    assert!(lane.is_over());
    assert_eq!(write(&writer, b"more"), Err(Errno::PIPE));
}

#[test]
fn a_stream_ends_with_its_process_and_others_write_on() {
    let (source, writer) = pipe();
    let (sink, reader) = socket();
    let mut lane = Lane::new(Stream::Stdout, Way::ToHost, open(source), open(sink)).outliving_host();
    write(&writer, b"the process's").unwrap();
    lane.end_with_present();
    write(&writer, b"another's").unwrap();
    lane.turn(false);
    let mut got = Vec::new();
    assert!(read_all(&reader, &mut got), "the stream has an end");
    assert_eq!(got, b"the process's");
    assert!(lane.is_over());
    let mut rest = lane.take_rest().unwrap();
    assert!(lane.take_rest().is_none());
    rest.lose_host();
    rest.turn(false);
    assert!(!rest.is_over());
    assert_eq!(write(&writer, b"and more"), Ok(8));
    drop(writer);
    rest.turn(false);
    assert!(rest.is_over());
}

#[test]
fn what_a_process_wrote_last_waits_for_a_slow_host() {
    let (source, writer) = pipe();
    let (sink, reader) = socket();
    let mut lane = Lane::new(Stream::Stdout, Way::ToHost, open(source), open(sink)).outliving_host();
    let (mut sent, mut turns) = (0, 0);
    // Until nothing goes any more: socket, lane and pipe are full.
    while turns < 100 {
        match write(&writer, &[1; 4096]) {
            Ok(count) => sent += count,
            Err(_) => turns += 1,
        }
        lane.turn(false);
    }
    lane.end_with_present();
    let (mut got, mut ended) = (Vec::new(), false);
    while !ended {
        ended = read_all(&reader, &mut got);
        lane.turn(false);
    }
    assert_eq!(got.len(), sent);
}
