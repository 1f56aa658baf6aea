//! Directories that become part of the store whole, or never.

mod abandoned;
pub mod set_aside;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

pub use abandoned::WRITING;
#[cfg(test)]
pub use abandoned::prefix;

const LOCK: &str = ".lock";

/// The right to change what is in the store; ends when dropped.
pub struct StoreLock {
    _file: File,
}

impl StoreLock {
    /// Waits until no other process changes the store, and ends what one that was killed has begun.
    pub fn acquire(store: &Path) -> io::Result<StoreLock> {
        let file = File::options().create(true).truncate(false).write(true).open(store.join(LOCK))?;
        retry(|| flock(&file, FlockOperation::LockExclusive))?;
        let lock = StoreLock { _file: file };
        set_aside::settle(store, &lock)?;
        Ok(lock)
    }
}

/// A directory beside the kernels that is being filled. While its maker lives, it is locked; an
/// unlocked one was left by a process that was killed, and the next one removes it: at once where the maker and it
/// see each other's locks, and later where they may not.
pub struct Staging {
    path: Option<PathBuf>,
    _lock: File,
}

impl Staging {
    /// Makes a new one, and removes those that nobody fills any more.
    pub fn new(store: &Path) -> io::Result<Staging> {
        let _changing = StoreLock::acquire(store)?;
        abandoned::remove(store)?;
        let path = new_directory(store)?.keep();
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

    /// Puts the directory in the place of another, in one step, so that there is always one. What it holds is on the
    /// disk before; the other's content goes after, by the next `Staging::new` if this process is killed.
    pub fn replace(mut self, lock: &StoreLock, other: &Path) -> io::Result<()> {
        rustix::fs::syncfs(&self._lock)?;
        match renameat_with(CWD, self.path(), CWD, other, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            // File systems over a network, and an emulated host's view of this one, cannot exchange.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV) => {
                return self.replace_in_two_steps(lock, other);
            }
            Err(error) => return Err(error.into()),
        }
        // What has the name for now is the other's content, and goes with the end of this.
        sync_parent(other)
    }

    /// For a moment there is neither, and whoever looks then waits for the lock.
    fn replace_in_two_steps(&mut self, lock: &StoreLock, other: &Path) -> io::Result<()> {
        let store = other.parent().unwrap_or(Path::new(""));
        set_aside::replace(store, self.path(), other, lock)?;
        self.path = None;
        Ok(())
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
    let grave = new_directory(store)?;
    fs::rename(directory, grave.path().join("removed"))?;
    sync_parent(directory)?;
    grave.close()
}

fn new_directory(store: &Path) -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix(&abandoned::prefix()).tempdir_in(store)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(store: &Path, content: &str) -> Staging {
        let staging = Staging::new(store).unwrap();
        fs::write(staging.path().join("file"), content).unwrap();
        staging
    }

    fn names(store: &Path) -> Vec<std::ffi::OsString> {
        let mut names: Vec<_> =
            fs::read_dir(store).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_replaces_another_leaves_nothing_of_it() {
        let store = tempfile::tempdir().unwrap();
        let place = store.path().join("x");
        let [one, two, three] = ["one", "two", "three"].map(|content| filled(store.path(), content));
        let lock = StoreLock::acquire(store.path()).unwrap();
        one.publish(&lock, &place).unwrap();
        two.replace(&lock, &place).unwrap();
        assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "two");
        let mut three = three;
        three.replace_in_two_steps(&lock, &place).unwrap();
        drop(three);
        assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "three");
        assert_eq!(names(store.path()), [LOCK, "x"]);
    }

    #[test]
    fn what_cannot_be_replaced_stays() {
        let store = tempfile::tempdir().unwrap();
        let place = store.path().join("x");
        let [one, mut two] = ["one", "two"].map(|content| filled(store.path(), content));
        let lock = StoreLock::acquire(store.path()).unwrap();
        one.publish(&lock, &place).unwrap();
        fs::remove_dir_all(two.path()).unwrap();
        assert!(two.replace_in_two_steps(&lock, &place).is_err());
        assert!(two.replace(&lock, &place).is_err());
        assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "one");
        assert_eq!(names(store.path()), [LOCK, "x"]);
    }
}
