//! The control stream: frames, read and written without waiting.

use std::rc::Rc;

use guest_protocol::{GuestMessage, HostMessage, frame};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read, write};

use crate::log;

/// guest-init's side of the control stream. Messages can be sent before the host has connected.
#[derive(Default)]
pub struct Control {
    connection: Option<Rc<OwnedFd>>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    lost: bool,
}

impl Control {
    /// Takes the host's connection, unless there is one.
    pub fn attach(&mut self, connection: &Rc<OwnedFd>) {
        if self.connection.is_none() {
            self.connection = Some(connection.clone());
            self.flush();
        }
    }

    /// A control stream on which something has been received before.
    pub fn resume(connection: Rc<OwnedFd>, received: Vec<u8>) -> Control {
        Control { connection: Some(connection), incoming: received, ..Control::default() }
    }

    pub fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let connection = self.connection.as_ref()?;
        let flags = if self.outgoing.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        Some((connection.as_fd(), flags))
    }

    /// Whether the host was there and is gone.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    pub fn send(&mut self, message: &GuestMessage) {
        if let Err(error) = frame::write(&mut self.outgoing, message) {
            log::note(&["a message could not be sent: ", &error.to_string()].concat());
        }
        self.flush();
    }

    /// The messages that have come.
    pub fn receive(&mut self) -> Vec<HostMessage> {
        self.flush();
        let mut messages = Vec::new();
        let Some(connection) = &self.connection else { return messages };
        let mut chunk = [0; 512];
        loop {
            loop {
                match frame::take(&mut self.incoming) {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(_) => {
                        self.lost = true;
                        break;
                    }
                }
            }
            if self.lost {
                self.connection = None;
                break;
            }
            match read(connection, &mut chunk) {
                Ok(0) => self.lost = true,
                Ok(count) => self.incoming.extend_from_slice(&chunk[..count]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.lost = true,
            }
        }
        messages
    }

    /// Whether all that was sent is on its way, or there is nobody for it.
    pub fn is_flushed(&self) -> bool {
        self.outgoing.is_empty() || self.lost
    }

    fn flush(&mut self) {
        let Some(connection) = &self.connection else { return };
        while !self.outgoing.is_empty() {
            match write(connection, &self.outgoing) {
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // Reading learns of the loss.
                Err(_) => break,
            }
        }
    }
}
