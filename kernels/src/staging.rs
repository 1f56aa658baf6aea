//! Directories that become part of the store whole, or never.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

const PREFIX: &str = ".staging-";
const LOCK: &str = ".lock";

/// The right to change what is in the store; ends when dropped.
pub struct StoreLock {
    _file: File,
}

impl StoreLock {
    /// Waits until no other process changes the store.
    pub fn acquire(store: &Path) -> io::Result<StoreLock> {
        let file = File::options().create(true).truncate(false).write(true).open(store.join(LOCK))?;
        retry(|| flock(&file, FlockOperation::LockExclusive))?;
        Ok(StoreLock { _file: file })
    }
}

/// A directory beside the kernels that is being filled. While its maker lives, it is locked; an
/// unlocked one was left by a process that was killed, and the next one removes it.
pub struct Staging {
    path: Option<PathBuf>,
    _lock: File,
}

impl Staging {
    /// Makes a new one, and removes those that nobody fills any more.
    pub fn new(store: &Path) -> io::Result<Staging> {
        let _changing = StoreLock::acquire(store)?;
        remove_abandoned(store)?;
        let path = tempfile::Builder::new().prefix(PREFIX).tempdir_in(store)?.keep();
        let lock = File::open(&path)?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(Staging { path: Some(path), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(""))
    }

    /// Puts the directory in its place; the caller holds the store's lock. What it holds is on
    /// the disk before its name is.
    pub fn publish(mut self, _lock: &StoreLock, to: &Path) -> io::Result<()> {
        rustix::fs::syncfs(&self._lock)?;
        if let Some(path) = self.path.take() {
            fs::rename(path, to)?;
        }
        sync_parent(to)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Nothing can be done about a failure; the next `Staging::new` tries again.
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// Removes a directory of the store: at once by name, then by content.
pub fn remove(store: &Path, directory: &Path, _lock: &StoreLock) -> io::Result<()> {
    let grave = tempfile::Builder::new().prefix(PREFIX).tempdir_in(store)?;
    fs::rename(directory, grave.path().join("removed"))?;
    sync_parent(directory)?;
    grave.close()
}

fn remove_abandoned(store: &Path) -> io::Result<()> {
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(directory) = File::open(entry.path()) else { continue };
        if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn retry(mut call: impl FnMut() -> rustix::io::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}
