//! The host's end of a connection: a Unix stream socket that never makes us wait.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};

use crate::virtio::chain::Buffers;
use crate::virtio::transfer;

/// Bytes thrown away at a time when a stream ends with input that nobody wants any more.
const DISCARDED_AT_ONCE: usize = 16 << 10;
/// A socket's receive queue holds less than this many of those unless its sender changed the kernel's limits.
const DISCARDS: usize = 256;

#[derive(Debug)]
pub struct HostStream(UnixStream);

impl HostStream {
    /// The next client that waits at `listener`, which does not block.
    pub fn accept(listener: &UnixListener) -> io::Result<Self> {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: null asks for no address, and needs no length.
        let fd =
            unsafe { libc::accept4(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given us the descriptor, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }.into()))
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Looks at the first bytes of the input without taking them; 0 at the end.
    pub fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.take_or_peek(bytes, libc::MSG_PEEK)
    }

    /// Takes bytes of the input; 0 at the end.
    pub fn take(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.take_or_peek(bytes, 0)
    }

    /// Takes bytes of the input to guest memory; 0 at the end.
    pub fn receive(&self, buffers: &Buffers) -> io::Result<usize> {
        transfer::receive(self.0.as_fd(), buffers)
    }

    /// Sends from guest memory what the socket takes now.
    pub fn send(&self, buffers: &Buffers) -> io::Result<usize> {
        transfer::send(self.0.as_fd(), buffers)
    }

    /// Sends what the socket takes now.
    pub fn send_bytes(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        // SAFETY: the kernel reads at most `bytes.len()` bytes of `bytes`.
        let sent = unsafe { libc::send(self.fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// No more bytes will come from the guest: the client reads the end once it has read what was sent.
    pub fn end_output(&self) {
        // Fails only when the client is gone, and then there is nobody to tell.
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// The guest takes no more bytes: the client's writes fail.
    pub fn end_input(&self) {
        let _ = self.0.shutdown(Shutdown::Read);
    }

    /// Closes both directions. A socket closed with unread input would show its client a connection reset instead of
    /// the end, so that is read and dropped first.
    pub fn close(self) {
        let _ = self.0.shutdown(Shutdown::Both);
        let mut dropped = [0; DISCARDED_AT_ONCE];
        for _ in 0..DISCARDS {
            if !matches!(self.take(&mut dropped), Ok(1..)) {
                break;
            }
        }
    }

    fn take_or_peek(&self, bytes: &mut [u8], flags: i32) -> io::Result<usize> {
        let flags = flags | libc::MSG_DONTWAIT;
        // SAFETY: the kernel writes at most `bytes.len()` bytes to `bytes`.
        let count = unsafe { libc::recv(self.fd(), bytes.as_mut_ptr().cast(), bytes.len(), flags) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}
