//! Where an emulated host is found: in `emulated-host/` of the state directory, so that whoever uses
//! that finds the same one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::request::FileIdentity;
use crate::home;

/// The files of the emulated host of one state directory.
#[derive(Debug, Clone)]
pub struct Files {
    /// The state directory, without symbolic links in its path.
    pub home: PathBuf,
    directory: PathBuf,
}

/// What commands are told of a host that runs.
#[derive(Debug, Serialize, Deserialize)]
struct Published {
    home: FileIdentity,
    socket: PathBuf,
}

/// A lock that is held until this is dropped, or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Files {
    pub fn new(home: &Path) -> Files {
        // One that is not there has no emulated host, and gets none.
        let home = home.canonicalize().unwrap_or_else(|_| home.to_owned());
        let directory = home.join("emulated-host");
        Files { home, directory }
    }

    pub fn make_directory(&self) -> Result<()> {
        home::private_directory(&self.directory)
    }

    /// What the host, its kernel and QEMU have complained of.
    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Who holds this may start the host.
    pub fn lock_start(&self, patience: Duration) -> Result<Lock> {
        self.lock("start.lock", patience)?.with_context(|| {
            format!("another vmrun starts the emulated host for too long: see {}", self.log().display())
        })
    }

    /// Held by the process that holds the emulated host, for its life.
    pub fn lock_life(&self, patience: Duration) -> Result<Option<Lock>> {
        self.lock("life.lock", patience)
    }

    fn lock(&self, name: &str, patience: Duration) -> Result<Option<Lock>> {
        let path = self.directory.join(name);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        let deadline = Instant::now() + patience;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Lock { _file: file })),
                Err(Errno::WOULDBLOCK) if Instant::now() >= deadline => return Ok(None),
                Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(Duration::from_millis(20)),
                Err(error) => return Err(error).with_context(|| format!("cannot lock {}", path.display())),
            }
        }
    }

    /// The socket of the host that runs, or ran last; `None` when there was none, or only one of the
    /// directory that this is a copy of.
    pub fn socket(&self) -> Option<PathBuf> {
        let published: Published =
            serde_json::from_slice(&fs::read(self.directory.join("socket.json")).ok()?).ok()?;
        (published.home == FileIdentity::of(&self.home).ok()?).then_some(published.socket)
    }

    /// A place for the socket of a new host, whose name says nothing of the state directory: socket
    /// paths are short.
    pub fn new_socket(&self) -> Result<PathBuf> {
        let mut name = [0; 8];
        crate::machine::fill_random(&mut name)?;
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let directory = home::runtime_directory().join("emulated");
        home::private_directory(&directory)?;
        Ok(directory.join(name + ".sock"))
    }

    /// Lets everyone know of a socket that takes connections.
    pub fn publish(&self, socket: &Path) -> Result<()> {
        let (path, new) = (self.directory.join("socket.json"), self.directory.join("socket.new"));
        let published = Published { home: FileIdentity::of(&self.home)?, socket: socket.to_owned() };
        let written = fs::write(&new, serde_json::to_vec(&published)?).and_then(|()| fs::rename(&new, &path));
        written.with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes the socket, and the word of it.
    pub fn withdraw(&self, socket: &Path) {
        // What is not there need not be removed; the state directory itself may be gone.
        let _ = fs::remove_file(socket);
        self.clear();
    }

    /// Removes what a host that was killed has left.
    pub fn clear(&self) {
        if let Some(socket) = self.socket() {
            let _ = fs::remove_file(socket);
            let _ = fs::remove_file(self.directory.join("socket.json"));
        }
    }

    /// The last line of the log that says something.
    pub fn last_complaint(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&log[log.len().saturating_sub(4096)..]).into_owned();
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        last.map_or_else(|| "it said nothing".into(), |line| line.trim_start_matches("vmrun: ").into())
    }
}
