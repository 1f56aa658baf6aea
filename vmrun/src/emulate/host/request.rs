//! What is said to the emulated host: one frame with what is asked for, one with the answer, and
//! then, if it was granted, the bytes of the connection.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use guest_protocol::frame;
use serde::{Deserialize, Serialize};

/// What is asked for, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What the asking vmrun takes for its state directory.
    pub home: FileIdentity,
    pub request: Request,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// A connection to the Unix socket at that path in the emulated host.
    Connect(Vec<u8>),
    /// A vmrun process there.
    Spawn(Spawn),
    /// Answered with a [`Status`] frame.
    Status,
    /// Answered with a [`Census`] frame.
    Census,
    /// Looks at processes there. Answered with a [`Sight`] frame.
    Look(Vec<u32>),
    /// Ends the emulated host, when no machine runs in it or `force` is set.
    Stop { force: bool },
    /// Of the holder's: a [`Census`] frame now, and at each change.
    Watch,
    /// Of the holder's: ends everything in the emulated host.
    Leave,
}

/// A vmrun to be started in the emulated host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// The executable of the vmrun that asks.
    pub program: FileIdentity,
    /// The machine it is for, or what else it is.
    pub label: String,
    pub words: Vec<Vec<u8>>,
    /// Beside what every process there has.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Memory that has to be free, in bytes.
    pub memory: u64,
    pub connection: Connection,
}

/// What the connection is to a process that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Connection {
    /// Its standard output and error. It outlives the connection.
    Said,
    /// Its standard input and output. It ends with the connection, or is ended a minute after that.
    Life,
}

/// What has become of a request.
pub type Answer = Result<(), Refusal>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub reason: Reason,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// A system call's error number.
    System(i32),
    /// The state directory that this host serves has been replaced.
    OtherHome,
    /// Another build of vmrun runs there.
    OtherProgram,
    /// The machine does not fit.
    Memory,
    /// Machines run in it.
    InUse,
    Other,
}

impl Refusal {
    pub fn new(reason: Reason, message: impl Into<String>) -> Refusal {
        Refusal { reason, message: message.into() }
    }

    pub fn system(error: &io::Error, what: &str) -> Refusal {
        let reason = error.raw_os_error().map_or(Reason::Other, Reason::System);
        Refusal::new(reason, format!("{what}: {error}"))
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> io::Error {
        match refusal.reason {
            Reason::System(number) => io::Error::from_raw_os_error(number),
            _ => io::Error::other(refusal.message),
        }
    }
}

/// What runs in the emulated host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    pub labels: Vec<String>,
    /// In bytes.
    pub memory: u64,
    pub available: u64,
}

/// What is seen there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// CLOCK_MONOTONIC, in nanoseconds.
    pub clock: u64,
    /// What each of the processes takes (see [`crate::process_memory`]), in bytes.
    pub memory: Vec<Option<u64>>,
}

/// What is known outside of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Seconds since 1970.
    pub since: u64,
    pub qemu: u32,
    /// In bytes.
    pub memory: u64,
}

/// What tells a file from another one that has taken its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    /// Of a file, not of a directory.
    length: u64,
    modified: i64,
}

impl FileIdentity {
    pub fn of(path: &Path) -> Result<FileIdentity> {
        let metadata = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
        let (length, modified) = match metadata.is_dir() {
            true => (0, 0),
            false => (metadata.len(), metadata.mtime()),
        };
        Ok(FileIdentity { device: metadata.dev(), inode: metadata.ino(), length, modified })
    }
}

/// A value as the frame that is sent of it.
pub fn encoded(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, value)?;
    Ok(bytes)
}
