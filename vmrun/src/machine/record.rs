//! What is kept of a machine in the state directory: what it was asked to be, how it ended, and
//! its kernel's log.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::home::{self, Home};

/// A machine's identity: twelve hexadecimal digits, as Docker shows containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineId(String);

impl MachineId {
    /// A new random identity.
    pub fn new() -> Result<MachineId> {
        let mut bytes = [0; 6];
        fill_random(&mut bytes)?;
        Ok(MachineId(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Fills `bytes` from the kernel's generator.
pub fn fill_random(bytes: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            .context("cannot get random bytes")?;
    }
    Ok(())
}

/// The lasting part of a record, `machine.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Description {
    pub id: String,
    pub image: String,
    pub kernel: String,
    pub memory: u64,
    pub cpus: u8,
    /// `pmem` or `blk`, and why that.
    pub rootfs_device: String,
    #[serde(default)]
    pub rootfs_reason: String,
    /// The machine has a copy of its image in memory of its own.
    #[serde(default)]
    pub rootfs_private: bool,
    /// The exit code of `vmrun`, once the machine has ended.
    pub exit_code: Option<u8>,
}

/// The directories of one machine: its record, and its socket's while it runs.
#[derive(Debug)]
pub struct Record {
    directory: PathBuf,
    runtime: PathBuf,
    keep: bool,
}

impl Record {
    /// Makes the directories for machine `id`. Unless `keep`, the record goes when this is dropped.
    pub fn create(home: &Home, id: &MachineId, keep: bool) -> Result<Record> {
        let directory = home.machines().join(id.as_str());
        let runtime = home::runtime_directory().join(id.as_str());
        for path in [&directory, &runtime] {
            private_directory(path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        Ok(Record { directory, runtime, keep })
    }

    /// The socket that leads to the guest's vsock ports.
    pub fn socket(&self) -> PathBuf {
        self.runtime.join("vsock.sock")
    }

    /// A new file for the kernel's log.
    pub fn kernel_log(&self) -> Result<File> {
        let path = self.directory.join("kernel.log");
        File::create(&path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes `machine.json`, whole or not at all.
    pub fn describe(&self, description: &Description) -> Result<()> {
        let path = self.directory.join("machine.json");
        let new = self.directory.join("machine.json.new");
        fs::write(&new, serde_json::to_vec_pretty(description)?)
            .and_then(|()| fs::rename(&new, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // What cannot be removed is clutter, not a failure of the run.
        let _ = fs::remove_dir_all(&self.runtime);
        if !self.keep {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

fn private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
