//! Asking guest-init for files.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use guest_protocol::Hello;
use guest_protocol::files::stream::{Stopped, StreamError};
use guest_protocol::files::{Found, Item, ItemReader, ItemWriter, Request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::machine::connect;
use crate::output::warn;
use crate::place::Socket;

/// How long a machine may say nothing, or take nothing, before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Symbolic links followed from one to the next, as many as the kernel follows.
const MAX_LINKS: usize = 40;

/// A machine that can be asked for files.
#[derive(Debug, Clone)]
pub struct Guest {
    socket: Socket,
    patience: Duration,
}

/// What comes from the machine.
pub type Answer = ItemReader<UnixStream>;

impl Guest {
    /// `socket` leads to the machine's vsock ports.
    pub fn new(socket: &Socket) -> Guest {
        Guest { socket: socket.clone(), patience: PATIENCE }
    }

    /// Gives it so much time to say something.
    #[cfg(test)]
    pub fn with_patience(self, patience: Duration) -> Guest {
        Guest { patience, ..self }
    }

    /// Asks for something that only comes.
    pub fn ask(&self, request: &Request) -> Result<Answer> {
        let connection = self.connect()?;
        ItemWriter::new(&connection).request(request).map_err(|error| self.cut(error))?;
        Ok(ItemReader::new(connection))
    }

    /// Has files made below the existing `directory`: what is written to the delivery.
    pub fn deliver(&self, directory: &[u8]) -> Result<Delivery<'_>> {
        let connection = self.connect()?;
        let mut items = ItemWriter::new(Watched(connection));
        let request = Request::Write { directory: directory.to_vec() };
        items.request(&request).map_err(|error| self.cut(error))?;
        Ok(Delivery { items, guest: self })
    }

    /// What is at `path`.
    pub fn look(&self, path: &[u8], follow: bool) -> Result<Option<Found>> {
        let mut answer = self.ask(&Request::Look { path: path.to_vec(), follow })?;
        let found = match answer.item().map_err(|error| self.cut(error))? {
            Item::Found(found) => found,
            Item::Failed(message) => bail!(message),
            _ => return Err(self.explain(Stopped::Order)),
        };
        self.end(&mut answer)?;
        Ok(found)
    }

    /// What `path` comes to when the symbolic links at its end are followed. What they lead to need not
    /// exist.
    pub fn resolve(&self, path: &[u8]) -> Result<(Vec<u8>, Option<Found>)> {
        let mut path = path.to_vec();
        for _ in 0..MAX_LINKS {
            match self.look(&path, false)? {
                Some(Found::Symlink(target)) if target.starts_with(b"/") => path = target,
                Some(Found::Symlink(target)) => {
                    let parent = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
                    path.truncate(parent);
                    path.extend_from_slice(&target);
                }
                found => return Ok((path, found)),
            }
        }
        bail!("too many symbolic links in a row at {}", String::from_utf8_lossy(&path))
    }

    /// Waits for the end of an answer that has nothing more to say.
    pub fn end(&self, answer: &mut Answer) -> Result<()> {
        match answer.entry(&mut |text| self.warning(&text)) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(self.explain(Stopped::Order)),
            Err(stopped) => Err(self.explain(stopped)),
        }
    }

    /// Passes on what the machine has to say.
    pub fn warning(&self, text: &str) {
        warn(&format!("vmrun: {text}"));
    }

    /// Says what has become of an answer.
    pub fn explain(&self, stopped: Stopped) -> anyhow::Error {
        match stopped {
            Stopped::Told(message) => anyhow!(message),
            Stopped::Order => anyhow!("the machine's guest-init answered what was not asked"),
            Stopped::Stream(error) => self.cut(error),
        }
    }

    fn cut(&self, error: StreamError) -> anyhow::Error {
        use guest_protocol::frame::Error as Frame;
        let kind = error.as_io().map(io::Error::kind);
        match (kind, error) {
            (Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), _) => {
                anyhow!("the machine has not answered for {} seconds", self.patience.as_secs_f32())
            }
            (
                Some(
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset,
                ),
                _,
            )
            | (_, StreamError::Frame(Frame::Closed)) => {
                anyhow!("the machine ended, or refused, in the middle of its answer")
            }
            (_, error) => anyhow!("the machine's guest-init answered what cannot be understood: {error}"),
        }
    }

    fn connect(&self) -> Result<UnixStream> {
        let mut connections = connect(&self.socket, &[Hello::Files])?;
        let Some(connection) = connections.pop() else { bail!("there is no connection to the machine") };
        connection.set_read_timeout(Some(self.patience))?;
        connection.set_write_timeout(Some(self.patience))?;
        Ok(connection)
    }
}

/// Files on their way into a machine.
pub struct Delivery<'a> {
    pub items: ItemWriter<Watched>,
    guest: &'a Guest,
}

impl Delivery<'_> {
    /// Ends it after `sent`, which says whether all of it went, and waits until the machine has made it.
    /// Returns how many bytes the files have.
    pub fn finish(mut self, sent: std::result::Result<(), file_tree::Error>) -> Result<u64> {
        let cut = |error: &file_tree::Error| {
            matches!(error, file_tree::Error::Stopped(Stopped::Stream(StreamError::Frame(_))))
        };
        let sent = sent.and_then(|()| Ok(self.items.end(Ok(()))?));
        match sent {
            Err(error) if !cut(&error) => return Err(error.into()),
            _ => {}
        }
        // Also where the connection broke: it says why before.
        let mut answer = ItemReader::new(&self.items.target().0);
        let answered = answer.entry(&mut |text| self.guest.warning(&text));
        match (answered, sent) {
            (Ok(None), Ok(())) => Ok(self.items.total()),
            (Ok(_), _) => Err(self.guest.explain(Stopped::Order)),
            (Err(stopped), _) => Err(self.guest.explain(stopped)),
        }
    }
}

/// The connection while files are written to it: writing ends as soon as the machine says something,
/// which before the end is that it cannot go on.
pub struct Watched(UnixStream);

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0) && !fds[0].revents().is_empty() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "guest_test.rs"]
mod tests;
