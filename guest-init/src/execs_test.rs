use guest_protocol::{Hello, Process};
use rustix::io::write;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;

fn connection() -> (OwnedFd, Rc<OwnedFd>) {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (host, guest) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    (host, Rc::new(guest))
}

fn request(detached: bool) -> Vec<u8> {
    let process = Process { args: vec![vec![b'x'; 10_000]], ..Process::default() };
    let mut bytes = Vec::new();
    frame::write_within(MAX_REQUEST, &mut bytes, &ExecRequest { process, detached }).unwrap();
    bytes
}

#[test]
fn an_exec_is_complete_when_all_of_it_is_there_in_any_order() {
    let mut pending = PendingExecs::default();
    let ((host, control), (_out, stdout), (_err, stderr)) = (connection(), connection(), connection());
    pending.stream_came(7, Stream::Stderr, &stderr);
    pending.control_came(7, &control);
    let request = request(false);
    write(&host, &request[..9]).unwrap();
    assert!(pending.complete().is_empty());
    write(&host, &[&request[9..], b"more"].concat()).unwrap();
    assert!(pending.complete().is_empty(), "a stream is missing");
    assert_eq!(pending.interests().count(), 0, "what follows the request is the process's");
    pending.stream_came(8, Stream::Stdout, &stdout);
    assert!(pending.complete().is_empty(), "it is another's");
    pending.stream_came(7, Stream::Stdout, &stdout);
    let complete = pending.complete();
    assert_eq!(complete.len(), 1);
    assert_eq!(complete[0].request.process.args[0].len(), 10_000);
    assert_eq!(complete[0].received, b"more");
}

#[test]
fn one_that_nobody_listens_to_needs_no_streams() {
    let mut pending = PendingExecs::default();
    let (host, control) = connection();
    pending.control_came(1, &control);
    write(&host, &request(true)).unwrap();
    assert_eq!(pending.complete().len(), 1);
}

#[test]
fn what_makes_no_sense_is_dropped() {
    let mut pending = PendingExecs::default();
    let ((host, control), (_other, second)) = (connection(), connection());
    pending.control_came(1, &control);
    write(&host, &u32::MAX.to_le_bytes()).unwrap();
    assert!(pending.complete().is_empty() && pending.0.is_empty(), "a frame too long");
    pending.control_came(2, &control);
    pending.control_came(2, &second);
    assert!(pending.complete().is_empty() && pending.0.is_empty(), "a token twice");
    pending.stream_came(3, Stream::Stdout, &second);
    pending.0[0].until = Instant::now();
    assert!(pending.complete().is_empty() && pending.0.is_empty(), "too late");
    for token in 0..2 * MAX_PENDING as u64 {
        pending.control_came(token, &control);
    }
    assert_eq!(pending.0.len(), MAX_PENDING);
}

#[test]
fn a_greeting_fits_into_what_is_read_of_one() {
    let mut bytes = Vec::new();
    let hello = Hello::ExecStream { token: u64::MAX, stream: Stream::KernelLog };
    frame::write(&mut bytes, &hello).unwrap();
    assert!(bytes.len() <= 64);
}
