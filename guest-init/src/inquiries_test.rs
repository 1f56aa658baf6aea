use std::fs::File;
use std::time::Duration;

use guest_protocol::Init;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;

/// The host's end, and guest-init's.
fn connection() -> (File, Rc<OwnedFd>) {
    let (host, guest) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    (File::from(host), Rc::new(guest))
}

fn slow() -> Vec<u8> {
    std::thread::sleep(Duration::from_secs(100));
    quick()
}

fn quick() -> Vec<u8> {
    frame::answer(&Ok::<_, String>(7u8))
}

fn instead() -> Vec<u8> {
    frame::answer(&Ok::<_, String>(8u8))
}

fn answered(mut inquiries: Inquiries, host: &File) -> u8 {
    let guest = Guest::new(Init::None, None, None);
    let child = inquiries.children[0];
    while inquiries.deadline().is_some() {
        let begun = Instant::now();
        inquiries.turn(&guest);
        assert!(begun.elapsed() < Duration::from_secs(1), "everybody is held up");
        std::thread::sleep(Duration::from_millis(1));
    }
    // Or another test's session has reaped it.
    let _ = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
    inquiries.ended(child);
    assert!(inquiries.children.is_empty());
    frame::read::<Result<u8, String>>(host).unwrap().unwrap()
}

#[test]
fn what_takes_for_ever_holds_nobody_up_and_something_is_said() {
    let (host, guest) = connection();
    let mut inquiries = Inquiries::default();
    inquiries.read(&guest, quick, instead);
    assert_eq!(answered(inquiries, &host), 7);
    let mut inquiries = Inquiries::default();
    inquiries.read(&guest, slow, instead);
    assert_eq!(answered(inquiries, &host), 8);
}

#[test]
fn children_that_nothing_ends_are_not_added_to() {
    let (host, guest) = connection();
    let mut inquiries = Inquiries { children: vec![Pid::INIT; MAX_CHILDREN], ..Inquiries::default() };
    inquiries.read(&guest, quick, instead);
    assert!(inquiries.readings.is_empty());
    assert_eq!(frame::read::<Result<u8, String>>(&host).unwrap(), Ok(8));
}
