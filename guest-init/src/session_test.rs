use guest_protocol::{GuestMessage, HostMessage, Init, StartFailure, frame};
use rustix::io::{read, write};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;

/// The host's ends of a control port and a standard output's, and the session that has the others.
fn session() -> (OwnedFd, OwnedFd, Session) {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let port = || socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    let (control, guest_control) = port();
    let (stdout, guest_stdout) = port();
    let ports = vec![
        (Hello::Control, Rc::new(guest_control)),
        (Hello::Stream(Stream::Stdout), Rc::new(guest_stdout)),
    ];
    let children = signals::watch_children().unwrap();
    (
        control,
        stdout,
        Session::new(
            Attended::missing(failed()),
            Guest::new(Init::None, None, None),
            children,
            Transport::Ports(ports),
        ),
    )
}

fn failed() -> GuestMessage {
    GuestMessage::StartFailed { failure: StartFailure::NotFound, message: "no such thing".into() }
}

fn received(from: &OwnedFd) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let count = read(from, &mut bytes).unwrap();
    bytes.truncate(count);
    bytes
}

#[test]
fn a_machine_without_a_process_says_why_and_ends_its_streams() {
    let (control, stdout, mut session) = session();
    frame::write(writer(&control), &HostMessage::Close).unwrap();
    assert_eq!(session.run_to_end(), Ending::Closed);
    assert_eq!(frame::take::<GuestMessage>(&mut received(&control)).unwrap(), Some(failed()));
    assert_eq!(received(&stdout), [0; 4]);
}

#[test]
fn a_host_that_vanishes_ends_the_session() {
    let (control, _stdout, mut session) = session();
    drop(control);
    assert_eq!(session.run_to_end(), Ending::Lost);
}

#[test]
fn a_host_that_speaks_otherwise_is_no_host() {
    let (control, _stdout, mut session) = session();
    write(&control, &[0xff; 32]).unwrap();
    assert_eq!(session.run_to_end(), Ending::Lost);
}

#[test]
fn patience_ends() {
    let (_control, _stdout, session) = session();
    assert_eq!(session.give_up_after(Duration::from_millis(20)).run_to_end(), Ending::Waited);
}

fn writer(fd: &OwnedFd) -> std::fs::File {
    std::fs::File::from(fd.try_clone().unwrap())
}
