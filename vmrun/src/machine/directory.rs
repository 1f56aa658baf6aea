//! The files of one machine in the state directory.
//!
//! `machine.json` is written once, `name` by `rename`, `state.json` by the machine's supervisor, which holds the
//! lock for as long as it runs, or by a command that holds it instead.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::config::MachineConfig;
use super::state::{State, Status};
use super::{MachineId, name};
use crate::home;
use crate::place::{Place, Socket};

/// How long a command waits for another one on the same machine.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_STEP: Duration = Duration::from_millis(10);

/// The largest of these documents that is read, in bytes.
const MAX_DOCUMENT: u64 = 16 << 20;

/// One machine's directory.
#[derive(Debug, Clone)]
pub struct MachineDirectory {
    id: MachineId,
    path: PathBuf,
    /// Where its processes and sockets are.
    place: Place,
}

/// The right to change a machine; given up when dropped.
#[derive(Debug)]
pub struct MachineLock {
    _file: File,
}

impl MachineDirectory {
    pub fn new(machines: &Path, id: MachineId, place: &Place) -> MachineDirectory {
        MachineDirectory { path: machines.join(id.as_str()), id, place: place.clone() }
    }

    /// A machine that is being made, somewhere else.
    pub fn at(path: &Path, id: MachineId, place: &Place) -> MachineDirectory {
        MachineDirectory { path: path.to_owned(), id, place: place.clone() }
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    pub fn id(&self) -> &MachineId {
        &self.id
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn upper(&self) -> PathBuf {
        self.path.join("upper.ext4")
    }

    /// What the writable disk takes of the host's, in bytes.
    pub fn upper_size(&self) -> u64 {
        fs::metadata(self.upper()).map_or(0, |metadata| metadata.blocks() * 512)
    }

    /// What the process wrote (see [`super::output_log`]).
    pub fn output_log(&self) -> PathBuf {
        self.path.join("output.log")
    }

    pub fn kernel_log(&self) -> PathBuf {
        self.path.join("kernel.log")
    }

    /// Where this machine's sockets are when it is started by this user, here.
    pub fn runtime(&self) -> PathBuf {
        home::runtime_directory().join(self.id.as_str())
    }

    pub fn config(&self) -> Result<MachineConfig> {
        read_json(&self.path.join("machine.json"))
    }

    /// Writes what the machine is, in a directory that nobody sees yet.
    pub fn write_config(&self, config: &MachineConfig) -> Result<()> {
        write_json(&self.path.join("machine.json"), config, !config.remove)
    }

    pub fn name(&self) -> Result<String> {
        let path = self.path.join("name");
        let name = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(name::check(name.trim_end()).with_context(|| format!("{} is damaged", path.display()))?.to_owned())
    }

    pub fn write_name(&self, name: &str, lasting: bool) -> Result<()> {
        write_whole(&self.path.join("name"), name.as_bytes(), lasting)
    }

    /// What has become of the machine, in truth: a state that says it runs is checked.
    pub fn state(&self) -> Result<State> {
        let state = self.written_state()?;
        if !state.status.is_attended() || self.is_alive(&state) {
            return Ok(state);
        }
        // It may have ended between the two looks.
        let again = self.written_state()?;
        match again.status.is_attended() && !self.is_alive(&again) {
            true => Ok(again.found_dead()),
            false => Ok(again),
        }
    }

    /// What its file says. One that cannot be read was being written when the host crashed.
    pub fn written_state(&self) -> Result<State> {
        let path = self.path.join("state.json");
        match fs::exists(&path) {
            Ok(false) => Ok(State::default()),
            _ => Ok(read_json(&path).unwrap_or_else(|_| State::default().found_dead())),
        }
    }

    pub fn write_state(&self, state: &State) -> Result<()> {
        let ended = matches!(state.status, Status::Exited);
        write_json(&self.path.join("state.json"), state, ended)
    }

    /// Takes the machine for changes, which its supervisor has for as long as it runs.
    pub fn lock(&self) -> Result<MachineLock> {
        let path = self.path.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if Instant::now() >= deadline {
                bail!("machine {} is being used by another vmrun: try again", self.id.as_str());
            }
            std::thread::sleep(LOCK_STEP);
        }
        if !fs::exists(self.path.join("machine.json")).unwrap_or(false) {
            bail!("machine {} has just been removed", self.id.as_str());
        }
        // Its supervisor has the lock, too, but in the emulated host, which is not seen here.
        if self.place.is_emulated() && self.state()?.status.is_attended() {
            bail!("machine {} is being used by another vmrun: try again", self.id.as_str());
        }
        Ok(MachineLock { _file: file })
    }

    /// The monitor's socket of a machine that runs and is not paused. The user calls it `word`.
    pub fn running(&self, word: &str) -> Result<Socket> {
        match self.state()?.status {
            Status::Running => self.vsock_socket(),
            Status::Paused => bail!("machine {word} is paused: unpause it first"),
            status => bail!("machine {word} does not run, it is {}", status.as_str()),
        }
    }

    /// The monitor's socket of a machine that runs, if only to stand still. The user calls it `word`.
    pub fn attended(&self, word: &str) -> Result<Socket> {
        match self.state()?.status {
            Status::Running | Status::Paused => self.vsock_socket(),
            status => bail!("machine {word} does not run, it is {}", status.as_str()),
        }
    }

    /// The monitor's socket, which leads to the guest's vsock ports, while the machine runs.
    pub fn vsock_socket(&self) -> Result<Socket> {
        self.socket("vsock.sock")
    }

    /// The supervisor's socket, while there is one.
    pub fn control_socket(&self) -> Result<Socket> {
        self.socket("control.sock")
    }

    /// Whether somebody answers at the supervisor's socket.
    fn is_alive(&self, state: &State) -> bool {
        let Some(runtime) = &state.runtime else { return false };
        match self.place.socket(runtime.join("control.sock")).connect() {
            Ok(_) => true,
            // Anything else is between us and the socket.
            Err(error) => {
                ![io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&error.kind())
            }
        }
    }

    fn socket(&self, file: &str) -> Result<Socket> {
        match self.written_state()?.runtime {
            Some(runtime) => Ok(self.place.socket(runtime.join(file))),
            None => bail!("machine {} does not run", self.id.as_str()),
        }
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, MAX_DOCUMENT), &mut bytes))
        .with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))
}

fn write_json(path: &Path, value: &impl Serialize, lasting: bool) -> Result<()> {
    write_whole(path, &serde_json::to_vec_pretty(value)?, lasting)
}

/// Replaces `path`, whole or not at all; `lasting` also when the host fails just after.
fn write_whole(path: &Path, bytes: &[u8], lasting: bool) -> Result<()> {
    let new = path.with_added_extension("new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        if lasting {
            file.sync_all()?;
        }
        fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
