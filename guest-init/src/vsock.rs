//! The host's connections by the kernel's own vsock.

use std::mem::size_of;

use guest_protocol::PORT;
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::io::Errno;

use crate::errno;
use crate::fault::{Fault, OrFault};

/// Connections that the kernel keeps until they are looked at.
const BACKLOG: i32 = 1024;

const VSOCK_ADDRESS_SIZE: libc::socklen_t = size_of::<libc::sockaddr_vm>() as libc::socklen_t;

/// The socket that the host connects to.
pub fn listen() -> Result<OwnedFd, Fault> {
    listening_socket().or_fault("cannot listen on", "the vsock port")
}

/// The next connection of the host's (non-blocking).
pub fn accept_host(socket: &OwnedFd) -> Option<OwnedFd> {
    loop {
        let (connection, cid) = accept(socket).ok()?;
        // The kernel vouches for the number: no process of the guest (vsock_loopback) gets past it.
        if cid == libc::VMADDR_CID_HOST {
            return Some(connection);
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
