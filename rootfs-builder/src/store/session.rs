//! One command's work on the store: what it must hold while it works, and its drafts.
//!
//! Three kinds of lock, all `flock`, so that the kernel lets go of them however a process ends:
//!
//! - `locks/collect`: shared by whoever adds, exclusive for whoever removes what nobody refers to. What is
//!   being added is not yet referred to by anything.
//! - `locks/names`: exclusive, for the moment in which `oci/index.json` is replaced.
//! - `locks/layer-…`: exclusive, by diff ID, so that two who want one layer build it once.
//!
//! Drafts are in a directory of their own under `tmp/`, which is locked as long as its owner lives; those of
//! the dead are removed by the next session.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::Store;
use super::error::{At, Result};

const PREFIX: &str = "store-";

pub struct Session<'a> {
    pub store: &'a Store,
    directory: PathBuf,
    next: AtomicU64,
    /// Held to the end; the order of fields is the order in which they are let go.
    _directory_lock: File,
    _collect_lock: File,
}

impl<'a> Session<'a> {
    /// Begins to add something.
    pub fn begin(store: &'a Store) -> Result<Session<'a>> {
        let collect_lock = lock_shared(&store.lock_path("collect"))?;
        Session::with_lock(store, collect_lock)
    }

    /// Begins to remove; none when somebody is adding or removing just now.
    pub fn begin_collecting(store: &'a Store) -> Result<Option<Session<'a>>> {
        match try_lock(&store.lock_path("collect"))? {
            Some(lock) => Session::with_lock(store, lock).map(Some),
            None => Ok(None),
        }
    }

    fn with_lock(store: &'a Store, collect_lock: File) -> Result<Session<'a>> {
        let tmp = store.root.join("tmp");
        remove_abandoned(&tmp)?;
        let (directory, lock) = create_locked(&tmp)?;
        Ok(Session {
            store,
            directory,
            next: AtomicU64::new(0),
            _directory_lock: lock,
            _collect_lock: collect_lock,
        })
    }

    /// A path for a draft, not yet used.
    pub fn draft(&self, kind: &str) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.directory.join(format!("{kind}-{number}"))
    }

    /// Removes a file or a directory of the store, if it is there: out of sight at once, then file by file.
    pub fn remove(&self, path: &Path) -> Result<()> {
        let trash = self.draft("trash");
        match fs::rename(path, &trash) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.at("removing", path)?,
        }
        self.discard(&trash);
        Ok(())
    }

    /// Removes a draft that is no longer wanted. What stays behind goes with the session.
    pub fn discard(&self, draft: &Path) {
        let _ = if draft.is_dir() { fs::remove_dir_all(draft) } else { fs::remove_file(draft) };
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // What stays behind is removed by the next session.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Gives `write` a path for a single draft, for when there is no session yet.
pub fn with_draft<T>(tmp: &Path, write: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let (directory, _lock) = create_locked(tmp)?;
    let result = write(&directory.join("draft"));
    let _ = fs::remove_dir_all(&directory);
    result
}

fn create_locked(tmp: &Path) -> Result<(PathBuf, File)> {
    loop {
        let directory =
            tempfile::Builder::new().prefix(PREFIX).tempdir_in(tmp).at("creating a directory in", tmp)?;
        // Until it is locked it looks abandoned, and somebody may remove it: before it is opened, or after.
        let lock = match File::open(directory.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            lock => lock.at("opening", directory.path())?,
        };
        lock.lock().at("locking", directory.path())?;
        if directory.path().exists() {
            return Ok((directory.keep(), lock));
        }
    }
}

fn remove_abandoned(tmp: &Path) -> Result<()> {
    for entry in fs::read_dir(tmp).at("reading", tmp)? {
        let entry = entry.at("reading", tmp)?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        if let Ok(directory) = File::open(entry.path())
            && directory.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

fn open_lock(path: &Path) -> Result<File> {
    File::options().create(true).truncate(false).read(true).write(true).open(path).at("opening", path)
}

/// Waits for the lock.
pub fn lock(path: &Path) -> Result<File> {
    let file = open_lock(path)?;
    file.lock().at("locking", path)?;
    Ok(file)
}

fn lock_shared(path: &Path) -> Result<File> {
    let file = open_lock(path)?;
    file.lock_shared().at("locking", path)?;
    Ok(file)
}

fn try_lock(path: &Path) -> Result<Option<File>> {
    let file = open_lock(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error).at("locking", path),
    }
}
