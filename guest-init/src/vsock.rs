//! The host's connections to a machine, over vsock.

use std::mem::size_of;
use std::rc::Rc;
use std::time::{Duration, Instant};

use guest_protocol::{Hello, PORT, frame};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::{Errno, read};

use crate::errno;
use crate::fault::{Fault, OrFault};

/// Connections that the host has made at once and that have not said yet what they are.
const MAX_UNGREETED: usize = 64;

/// How long a connection may take to say it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections that the kernel keeps until they are looked at.
const BACKLOG: i32 = 1024;

/// A hello's length in bytes is at most this.
const MAX_HELLO: usize = 64;

const VSOCK_ADDRESS_SIZE: libc::socklen_t = size_of::<libc::sockaddr_vm>() as libc::socklen_t;

/// The socket that the host connects to, and the connections that have not said which stream they are.
pub struct Listener {
    socket: OwnedFd,
    ungreeted: Vec<Ungreeted>,
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
    pub fn bind() -> Result<Listener, Fault> {
        let socket = listening_socket().or_fault("cannot listen on", "the vsock port")?;
        Ok(Listener { socket, ungreeted: Vec::new() })
    }

    pub fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let listening = (self.ungreeted.len() < MAX_UNGREETED).then(|| self.socket.as_fd());
        let ungreeted = self.ungreeted.iter().map(|ungreeted| ungreeted.connection.as_fd());
        listening.into_iter().chain(ungreeted).map(|fd| (fd, PollFlags::IN))
    }

    /// When a connection has been silent for too long.
    pub fn deadline(&self) -> Option<Instant> {
        self.ungreeted.iter().map(|ungreeted| ungreeted.until).min()
    }

    /// The connections that have said what they are.
    pub fn greeted(&mut self) -> Vec<(Hello, Rc<OwnedFd>)> {
        while self.ungreeted.len() < MAX_UNGREETED {
            let Ok((connection, cid)) = accept(&self.socket) else { break };
            // The kernel vouches for the number: no process of the guest (vsock_loopback) gets past it.
            if cid == libc::VMADDR_CID_HOST {
                self.ungreeted.push(Ungreeted::new(connection));
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

fn listening_socket() -> Result<OwnedFd, Errno> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket takes no memory; the descriptor is checked, new, and owned by nobody else.
    let socket = unsafe {
        match libc::socket(libc::AF_VSOCK, kind, 0) {
            -1 => return Err(errno::last()),
            fd => OwnedFd::from_raw_fd(fd),
        }
    };
    let address = address(libc::VMADDR_CID_ANY, PORT);
    // SAFETY: `address` is a sockaddr_vm of the size that is given, alive during the call.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), VSOCK_ADDRESS_SIZE) };
    if bound < 0 {
        return Err(errno::last());
    }
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// A connection (non-blocking) and the context id of who made it.
fn accept(socket: &OwnedFd) -> Result<(OwnedFd, u32), Errno> {
    let mut peer = address(0, 0);
    let mut length = VSOCK_ADDRESS_SIZE;
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: `peer` has room for `length` bytes, any bytes are a valid sockaddr_vm, and both live
    // during the call; the descriptor is checked, new, and owned by nobody else.
    unsafe {
        match libc::accept4(socket.as_raw_fd(), (&raw mut peer).cast(), &raw mut length, flags) {
            -1 => Err(errno::last()),
            fd => Ok((OwnedFd::from_raw_fd(fd), peer.svm_cid)),
        }
    }
}

fn address(cid: u32, port: u32) -> libc::sockaddr_vm {
    // SAFETY: a sockaddr_vm is integers throughout; zeroes are valid.
    let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
    address.svm_family = libc::AF_VSOCK as libc::sa_family_t;
    address.svm_cid = cid;
    address.svm_port = port;
    address
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
