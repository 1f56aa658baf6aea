//! Where the machines of a state directory run: on this host, or in the emulated one.
//!
//! Their files are always this host's. Only processes and sockets are there, so this is all that
//! commands need to know of it.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result};

use crate::detached;
use crate::emulate::host::{EmulatedHost, Wanted};
use crate::hardware;
use crate::home::Home;

#[derive(Debug, Clone)]
pub enum Place {
    Here,
    /// Where this host has no hardware virtualization.
    Emulated(EmulatedHost),
}

impl Place {
    /// The place of this state directory's machines.
    pub fn of(home: &Home) -> Result<Place> {
        match hardware::virtualization() {
            Some(_) => Ok(Place::Here),
            None => Ok(Place::Emulated(EmulatedHost::new(home.root())?)),
        }
    }

    /// Connects to the Unix socket at `path` in that place. The connection carries bytes, and each
    /// direction's end, and no file descriptors.
    pub fn connect(&self, path: &Path) -> io::Result<UnixStream> {
        match self {
            Place::Here => UnixStream::connect(path),
            Place::Emulated(host) => host.connect(path),
        }
    }

    /// Starts `vmrun WORDS…` in that place, in a session of its own, with none of this process's
    /// streams. `machine` is the ID of the machine it is for, `memory` that machine's in bytes.
    pub fn spawn(&self, machine: &str, words: &[OsString], memory: u64) -> Result<()> {
        match self {
            Place::Here => {
                let own = env::current_exe().context("cannot find vmrun's own executable")?;
                detached::command(own).args(words).spawn().context("cannot start vmrun again")?;
                Ok(())
            }
            Place::Emulated(host) => host.spawn(&Wanted { label: machine, words, memory }),
        }
    }
}
