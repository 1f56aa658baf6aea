//! The loop that moves bytes between the port and the sockets at this end.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use super::engine::{Change, ChannelId, Mux};

/// How much is read at a time, in bytes.
const PIECE: usize = 64 << 10;

/// How many events are taken at once.
const EVENTS: usize = 64;

/// Tokens from here on are not channels'.
const NOT_A_CHANNEL: u64 = 1 << 32;
const PORT: u64 = NOT_A_CHANNEL;
const FOREIGN: u64 = NOT_A_CHANNEL + 1;

/// A file descriptor that the loop watches for its owner.
pub type Foreign = u32;

/// What the loop's owner has to see to.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The other side asks for a channel; it is answered with [`Carrier::attach`] or
    /// [`Carrier::refuse`].
    Opened(ChannelId, Vec<u8>),
    /// Both directions of a channel are over.
    Over(ChannelId),
    /// There is something to read, or an end.
    Ready(Foreign),
}

/// One end of the port, with its sockets.
pub struct Carrier {
    epoll: OwnedFd,
    port: OwnedFd,
    port_full: bool,
    /// Whether the loop is to be told when the port takes more.
    port_watched: bool,
    mux: Mux,
    sockets: BTreeMap<ChannelId, Socket>,
    /// Channels that wait until the port takes more, the first to wait first.
    parked: VecDeque<ChannelId>,
    events: Vec<Event>,
    buffer: Box<[u8]>,
}

/// A channel's connection. What it can do is told once, when it begins to.
struct Socket {
    stream: UnixStream,
    readable: bool,
    writable: bool,
    /// The process at its other end has closed it.
    hung_up: bool,
    parked: bool,
    shut_for_reading: bool,
    shut_for_writing: bool,
}

impl Carrier {
    /// Carries what `mux` says over `port`, which does not block.
    pub fn new(port: OwnedFd, mux: Mux) -> Result<Carrier> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).context("cannot make an epoll")?;
        epoll::add(&epoll, &port, EventData::new_u64(PORT), EventFlags::IN)
            .context("cannot watch the port")?;
        Ok(Carrier {
            epoll,
            port,
            port_full: false,
            port_watched: false,
            mux,
            sockets: BTreeMap::new(),
            parked: VecDeque::new(),
            events: Vec::new(),
            buffer: vec![0; PIECE].into(),
        })
    }

    /// Watches one more file descriptor for reading.
    pub fn watch(&self, fd: impl AsFd, name: Foreign) -> Result<()> {
        let data = EventData::new_u64(FOREIGN + u64::from(name));
        epoll::add(&self.epoll, fd, data, EventFlags::IN).context("cannot watch a file descriptor")
    }

    /// Does not watch it any more; it has to be open still.
    pub fn unwatch(&self, fd: impl AsFd) {
        // It can only fail for one that is not watched, which is as well.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Opens a channel for `stream`; `None` when there are too many.
    pub fn open(&mut self, request: &[u8], stream: UnixStream) -> Result<Option<ChannelId>> {
        let Some(id) = self.mux.open(request) else { return Ok(None) };
        self.attach(id, &[], stream)?;
        Ok(Some(id))
    }

    /// Lets the channel carry `greeting` and then what `stream` gives and takes.
    pub fn attach(&mut self, id: ChannelId, greeting: &[u8], stream: UnixStream) -> Result<()> {
        self.mux.send(id, greeting);
        stream.set_nonblocking(true).context("cannot set up a connection")?;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &stream, EventData::new_u64(id.into()), flags)
            .context("cannot watch a connection")?;
        self.sockets.insert(id, Socket::new(stream));
        Ok(())
    }

    /// Ends a channel that has no socket, with `answer`.
    pub fn refuse(&mut self, id: ChannelId, answer: &[u8]) {
        self.mux.send(id, answer);
        self.mux.end(id);
        self.mux.stop(id);
        self.mux.forget(id);
    }

    /// Carries until something is to be seen to, or `timeout` is over. An error means that the port
    /// is of no more use.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Vec<Event>> {
        self.settle()?;
        let timeout = if self.events.is_empty() { timeout } else { Some(Duration::ZERO) };
        let timeout = timeout.map(|time| Timespec {
            tv_sec: time.as_secs().min(1 << 30) as i64,
            tv_nsec: time.subsec_nanos().into(),
        });
        let mut ready = Vec::with_capacity(EVENTS);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait"),
        }
        for event in ready {
            let (token, flags) = (event.data.u64(), event.flags);
            match token {
                PORT => {
                    if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                        self.read_port()?;
                    }
                    self.port_full = self.port_full && !flags.contains(EventFlags::OUT);
                }
                FOREIGN.. => self.events.push(Event::Ready((token - FOREIGN) as Foreign)),
                channel => self.stirred(channel as ChannelId, flags),
            }
        }
        self.settle()?;
        Ok(std::mem::take(&mut self.events))
    }

    fn read_port(&mut self) -> Result<()> {
        let length = match rustix::io::read(&self.port, &mut self.buffer[..]) {
            Ok(0) => bail!("the other end of the port is closed"),
            Ok(length) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => return Err(error).context("cannot read from the port"),
        };
        for change in self.mux.receive(&self.buffer[..length])? {
            match change {
                Change::Opened(id, request) => self.events.push(Event::Opened(id, request)),
                Change::Moved(id) => self.turn(id),
            }
        }
        Ok(())
    }

    fn stirred(&mut self, id: ChannelId, flags: EventFlags) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let over = EventFlags::HUP | EventFlags::ERR;
        socket.readable |= flags.intersects(EventFlags::IN | EventFlags::RDHUP | over);
        socket.writable |= flags.intersects(EventFlags::OUT | over);
        socket.hung_up |= flags.intersects(over);
        self.turn(id);
    }

    /// Moves what can be moved between a channel and its socket.
    fn turn(&mut self, id: ChannelId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        while socket.readable && self.mux.room(id) > 0 {
            let length = self.mux.room(id).min(self.buffer.len());
            match socket.stream.read(&mut self.buffer[..length]) {
                Ok(0) => {
                    self.mux.end(id);
                    if socket.hung_up {
                        self.mux.stop(id);
                    }
                }
                Ok(length) => {
                    self.mux.send(id, &self.buffer[..length]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => socket.readable = false,
                Err(_) => {
                    self.mux.end(id);
                    self.mux.stop(id);
                }
            }
        }
        while socket.writable && !self.mux.inbox(id).is_empty() {
            match socket.stream.write(self.mux.inbox(id)) {
                Ok(length) => self.mux.consume(id, length),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => socket.writable = false,
                // Nobody reads there any more.
                Err(_) => self.mux.stop(id),
            }
        }
        self.pass_ends(id);
    }

    /// Lets the socket know what has ended on the channel.
    fn pass_ends(&mut self, id: ChannelId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let sending = self.mux.is_sending(id);
        // A socket that is closed already makes these fail, as they may.
        if self.mux.has_ended(id) && !std::mem::replace(&mut socket.shut_for_writing, true) {
            let _ = socket.stream.shutdown(Shutdown::Write);
        }
        if !sending && !std::mem::replace(&mut socket.shut_for_reading, true) {
            let _ = socket.stream.shutdown(Shutdown::Read);
        }
        if !sending && socket.hung_up {
            self.mux.stop(id);
        }
        if !socket.parked && socket.readable && self.mux.waits_for_port(id) {
            socket.parked = true;
            self.parked.push_back(id);
        }
        if self.mux.forget(id) {
            self.sockets.remove(&id);
            self.events.push(Event::Over(id));
        }
    }

    /// Writes to the port what it takes, and lets those go on who waited for that.
    fn settle(&mut self) -> Result<()> {
        loop {
            while !self.port_full && !self.mux.output().is_empty() {
                match rustix::io::write(&self.port, self.mux.output()) {
                    Ok(length) => self.mux.wrote(length),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => self.port_full = true,
                    Err(error) => return Err(error).context("cannot write to the port"),
                }
            }
            if self.port_full {
                break;
            }
            for id in std::mem::take(&mut self.parked) {
                if let Some(socket) = self.sockets.get_mut(&id) {
                    socket.parked = false;
                    self.turn(id);
                }
            }
            if self.mux.output().is_empty() {
                break;
            }
        }
        self.watch_port()
    }

    /// Asks to be told when the port takes more only where it did not.
    fn watch_port(&mut self) -> Result<()> {
        if self.port_watched == self.port_full {
            return Ok(());
        }
        self.port_watched = self.port_full;
        let flags = if self.port_full { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        epoll::modify(&self.epoll, &self.port, EventData::new_u64(PORT), flags)
            .context("cannot watch the port")
    }
}

impl Socket {
    fn new(stream: UnixStream) -> Socket {
        Socket {
            stream,
            readable: false,
            writable: false,
            hung_up: false,
            parked: false,
            shut_for_reading: false,
            shut_for_writing: false,
        }
    }
}

#[cfg(test)]
#[path = "carrier_test.rs"]
mod tests;
