//! Where the machines of a state directory run: on this host, or in the emulated one.
//!
//! Their files are always this host's. Only processes and sockets are there, so this is all that
//! commands need to know of it.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};

use crate::detached;
use crate::emulate::host::{Connection, EmulatedHost, Wanted, memory};
use crate::hardware;
use crate::machine::monotonic_time;
use crate::process_memory;

#[derive(Debug, Clone)]
pub enum Place {
    Here,
    /// Where this host has no hardware virtualization.
    Emulated(EmulatedHost),
}

/// What a place has for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What is available, in bytes.
    pub memory: u64,
    pub processors: usize,
}

/// A Unix socket in one of the places. Connections to it carry bytes, and each direction's end, and
/// no file descriptors.
#[derive(Debug, Clone)]
pub struct Socket {
    place: Place,
    path: PathBuf,
}

impl Place {
    /// The place of the machines of that state directory.
    pub fn of(home: &Path) -> Place {
        match hardware::virtualization() {
            Some(_) => Place::Here,
            None => Place::Emulated(EmulatedHost::new(home)),
        }
    }

    pub fn is_emulated(&self) -> bool {
        matches!(self, Place::Emulated(_))
    }

    pub fn socket(&self, path: PathBuf) -> Socket {
        Socket { place: self.clone(), path }
    }

    /// Starts `vmrun WORDS…` in that place, in a session of its own; it outlives this process. What it
    /// writes to its standard output and error can be read from the connection. `machine` is the ID
    /// of the machine it is for, `memory` that machine's in bytes.
    pub fn spawn(&self, machine: &str, words: &[OsString], memory: u64) -> Result<UnixStream> {
        match self {
            Place::Here => {
                let own = env::current_exe().context("cannot find vmrun's own executable")?;
                let (ours, theirs) = UnixStream::pair().context("cannot make a connection")?;
                let mut command = detached::command(own);
                command.args(words).stdout(OwnedFd::from(theirs.try_clone()?)).stderr(OwnedFd::from(theirs));
                command.spawn().context("cannot start vmrun again")?;
                Ok(ours)
            }
            Place::Emulated(host) => host.spawn(&Wanted { label: machine, words, memory }, Connection::Said),
        }
    }

    /// Starts `vmrun WORDS…` in that place with the connection as its standard input and output. The end of the
    /// connection is the end of it.
    pub fn attach(&self, machine: &str, words: &[OsString], memory: u64) -> Result<UnixStream> {
        match self {
            Place::Here => {
                let own = env::current_exe().context("cannot find vmrun's own executable")?;
                let (ours, theirs) = UnixStream::pair().context("cannot make a connection")?;
                let mut command = detached::command(own);
                command.args(words).stdin(OwnedFd::from(theirs.try_clone()?)).stdout(OwnedFd::from(theirs));
                command.spawn().context("cannot start vmrun again")?;
                Ok(ours)
            }
            Place::Emulated(host) => host.spawn(&Wanted { label: machine, words, memory }, Connection::Life),
        }
    }

    /// What the place has for machines of `machine` bytes each; the emulated host is started for that.
    pub fn room(&self, machine: u64) -> Result<Room> {
        match self {
            Place::Here => Ok(Room {
                memory: memory::available().unwrap_or(u64::MAX),
                processors: thread::available_parallelism().map_or(1, usize::from),
            }),
            Place::Emulated(host) => {
                // What fits into none does not fit into the one that runs.
                memory::of_new_host(machine)?;
                host.awaken(machine)?;
                let memory = host.status()?.map_or(0, |(_, census)| census.available);
                // All its processors run in one thread.
                Ok(Room { memory, processors: 1 })
            }
        }
    }

    /// What those processes take of the place's memory, all in all, in bytes.
    pub fn memory_of(&self, processes: &[u32]) -> Option<u64> {
        let memory = match self {
            Place::Here => processes.iter().map(|pid| process_memory::proportional(*pid)).collect(),
            Place::Emulated(host) => host.look(processes).ok().flatten()?.memory,
        };
        memory.into_iter().flatten().reduce(|one, other| one.saturating_add(other))
    }

    /// How far the place's CLOCK_MONOTONIC is ahead of this host's, in nanoseconds.
    pub fn clock_ahead(&self) -> i64 {
        let Place::Emulated(host) = self else { return 0 };
        let before = monotonic_time();
        let Ok(Some(sight)) = host.look(&[]) else { return 0 };
        let between = before.midpoint(monotonic_time());
        sight.clock.wrapping_sub(between) as i64
    }
}

impl Socket {
    pub fn connect(&self) -> io::Result<UnixStream> {
        match &self.place {
            Place::Here => UnixStream::connect(&self.path),
            Place::Emulated(host) => host.connect(&self.path),
        }
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Here => write!(f, "{}", self.path.display()),
            Place::Emulated(_) => write!(f, "{} in the emulated host", self.path.display()),
        }
    }
}
