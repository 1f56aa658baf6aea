//! An answer to a question that has a connection of its own.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, write};

/// How long the host may take to take it.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Reply {
    connection: Rc<OwnedFd>,
    bytes: Vec<u8>,
    pub until: Instant,
}

impl Reply {
    /// Sends `frame` as far as that goes without waiting; what is returned sends the rest.
    pub fn send(connection: &Rc<OwnedFd>, frame: Vec<u8>) -> Option<Reply> {
        let mut reply =
            Reply { connection: connection.clone(), bytes: frame, until: Instant::now() + PATIENCE };
        reply.flush().then_some(reply)
    }

    pub fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        (self.connection.as_fd(), PollFlags::OUT)
    }

    /// Sends what can be sent; whether there is more to be sent.
    pub fn flush(&mut self) -> bool {
        while !self.bytes.is_empty() {
            match write(&self.connection, &self.bytes) {
                Ok(count) => drop(self.bytes.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Instant::now() < self.until,
                Err(_) => return false,
            }
        }
        false
    }
}
