//! The host's connections to a machine, whatever carries them, until they have said what they are.

use std::rc::Rc;
use std::time::{Duration, Instant};

use guest_protocol::{Channel, Hello, frame};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read};

use crate::console::Console;
use crate::fault::Fault;
use crate::vsock;

/// Connections that the host has made at once and that have not said yet what they are.
const MAX_UNGREETED: usize = 64;

/// How long a connection may take to say it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A hello's length in bytes is at most this.
const MAX_HELLO: usize = 64;

/// Where the host connects to, and the connections that have not said which stream they are.
pub struct Listener {
    carrier: Carrier,
    ungreeted: Vec<Ungreeted>,
}

/// What brings connections.
enum Carrier {
    /// A listening socket.
    Vsock(OwnedFd),
    Console(Console),
}

struct Ungreeted {
    connection: OwnedFd,
    received: Vec<u8>,
    until: Instant,
}

enum Progress {
    Waiting,
    Greeted(Hello),
    Refused,
}

impl Listener {
    pub fn bind(channel: Channel) -> Result<Listener, Fault> {
        let carrier = match channel {
            Channel::Vsock => Carrier::Vsock(vsock::listen()?),
            Channel::Console => Carrier::Console(Console::open()?),
        };
        Ok(Listener { carrier, ungreeted: Vec::new() })
    }

    pub fn interests(&self) -> Vec<(BorrowedFd<'_>, PollFlags)> {
        let ungreeted = self.ungreeted.iter().map(|ungreeted| (ungreeted.connection.as_fd(), PollFlags::IN));
        let mut interests: Vec<_> = ungreeted.collect();
        match &self.carrier {
            Carrier::Vsock(socket) if self.has_room() => interests.push((socket.as_fd(), PollFlags::IN)),
            Carrier::Vsock(_) => {}
            Carrier::Console(console) => interests.extend(console.interests()),
        }
        interests
    }

    fn has_room(&self) -> bool {
        self.ungreeted.len() < MAX_UNGREETED
    }

    /// Moves what connections have to send, where the kernel does not.
    pub fn carry(&mut self) {
        if let Carrier::Console(console) = &mut self.carrier {
            console.turn();
        }
    }

    /// When a connection has been silent for too long.
    pub fn deadline(&self) -> Option<Instant> {
        self.ungreeted.iter().map(|ungreeted| ungreeted.until).min()
    }

    /// The connections that have said what they are.
    pub fn greeted(&mut self) -> Vec<(Hello, Rc<OwnedFd>)> {
        self.carry();
        while self.has_room() {
            let connection = match &mut self.carrier {
                Carrier::Vsock(socket) => vsock::accept_host(socket),
                Carrier::Console(console) => console.accept(),
            };
            match connection {
                Some(connection) => self.ungreeted.push(Ungreeted::new(connection)),
                None => break,
            }
        }
        let mut greeted = Vec::new();
        for mut ungreeted in std::mem::take(&mut self.ungreeted) {
            match ungreeted.progress() {
                Progress::Waiting if Instant::now() < ungreeted.until => self.ungreeted.push(ungreeted),
                Progress::Greeted(hello) => greeted.push((hello, Rc::new(ungreeted.connection))),
                Progress::Waiting | Progress::Refused => {}
            }
        }
        greeted
    }
}

impl Ungreeted {
    fn new(connection: OwnedFd) -> Ungreeted {
        Ungreeted { connection, received: Vec::new(), until: Instant::now() + PATIENCE }
    }

    /// Reads up to the hello's end and no further: what follows is the stream's.
    fn progress(&mut self) -> Progress {
        loop {
            let wanted = match *self.received {
                [a, b, c, d, ..] => 4 + u32::from_le_bytes([a, b, c, d]) as usize,
                _ => 4,
            };
            if wanted > MAX_HELLO {
                return Progress::Refused;
            }
            let held = self.received.len();
            if held == wanted {
                return match frame::read(self.received.as_slice()) {
                    Ok(hello) => Progress::Greeted(hello),
                    Err(_) => Progress::Refused,
                };
            }
            let mut chunk = [0; MAX_HELLO];
            match read(&self.connection, &mut chunk[..wanted - held]) {
                Ok(0) => return Progress::Refused,
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Progress::Waiting,
                Err(_) => return Progress::Refused,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use guest_protocol::Stream;
    use rustix::io::write;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn ungreeted() -> (OwnedFd, Ungreeted) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (host, connection) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        (host, Ungreeted::new(connection))
    }

    #[test]
    fn a_hello_in_pieces_leaves_the_streams_bytes_alone() {
        let (host, mut ungreeted) = ungreeted();
        let mut bytes = Vec::new();
        frame::write(&mut bytes, &Hello::Stream(Stream::Terminal)).unwrap();
        for byte in &bytes[..bytes.len() - 1] {
            write(&host, &[*byte]).unwrap();
            assert!(matches!(ungreeted.progress(), Progress::Waiting));
        }
        write(&host, &[&bytes[bytes.len() - 1..], b"typed"].concat()).unwrap();
        assert!(matches!(ungreeted.progress(), Progress::Greeted(Hello::Stream(Stream::Terminal))));
        let mut rest = [0; 16];
        assert_eq!(read(&ungreeted.connection, &mut rest), Ok(5));
    }

    #[test]
    fn what_is_no_hello_is_refused() {
        for bytes in [&b"\x02\0\0\0\xff\xff"[..], &[0xff; 4], b"\0\0\0\0"] {
            let (host, mut ungreeted) = ungreeted();
            write(&host, bytes).unwrap();
            assert!(matches!(ungreeted.progress(), Progress::Refused), "{bytes:?}");
        }
        let (host, mut ungreeted) = ungreeted();
        drop(host);
        assert!(matches!(ungreeted.progress(), Progress::Refused));
    }
}
