//! What processes that were killed have left in the store.
//!
//! Whether a process lives is known by its lock, but not everywhere: an emulated host sees this one's files and not its
//! locks, and so do hosts that share a file system. So directories are named by the start of the host that they are
//! made on. Of the same start, locks tell; else a day without a change does.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use crate::kernel::ARCHIVES;

const STAGING: &str = ".staging-";
/// How files begin that get their names when they are whole.
pub const WRITING: &str = ".writing-";
const UNCHANGED: Duration = Duration::from_secs(24 * 3600);

/// How the directories begin that are made here and now.
pub fn prefix() -> String {
    format!("{STAGING}{}-", start_of_host())
}

/// The kernel's own name for its start, as much of it as tells one from another.
fn start_of_host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    name.chars().filter(char::is_ascii_hexdigit).take(16).collect()
}

/// Removes all that is in nobody's hands any more. The caller holds the store's lock.
pub fn remove(store: &Path) -> io::Result<()> {
    let of_this_start = prefix();
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if name.starts_with(STAGING) {
            let Ok(directory) = File::open(&path) else { continue };
            let is_locked = flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err();
            if !is_locked && (name.starts_with(&of_this_start) || is_unchanged(&path)) {
                remove_all(&path)?;
            }
        } else if name.starts_with(WRITING) {
            remove_written(&path);
        } else if let Ok(archives) = fs::read_dir(path.join(ARCHIVES)) {
            let is_written = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(WRITING);
            archives.flatten().filter(is_written).for_each(|entry| remove_written(&entry.path()));
        }
    }
    Ok(())
}

/// Somebody on another host may remove it at the same time.
fn remove_all(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A file that was being written long ago; what cannot be removed is tried again next time.
fn remove_written(file: &Path) {
    if is_unchanged(file) {
        let _ = fs::remove_file(file);
    }
}

/// Whether nothing of it has changed for a day.
fn is_unchanged(path: &Path) -> bool {
    let Some(long_ago) = SystemTime::now().checked_sub(UNCHANGED) else { return false };
    is_older(path, long_ago).unwrap_or(false)
}

/// What cannot be looked at counts as new.
fn is_older(path: &Path, time: SystemTime) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.modified()? >= time {
        return Ok(false);
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            if !is_older(&entry?.path(), time)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::staging::{Staging, StoreLock};

    /// Makes a directory with a file deep in it, both last changed so many hours ago.
    fn directory(path: &Path, hours: u64) {
        fs::create_dir_all(path.join("modules/kernel")).unwrap();
        fs::write(path.join("modules/kernel/a.ko"), "x").unwrap();
        for part in ["modules/kernel/a.ko", "modules/kernel", "modules", ""] {
            age(&path.join(part), hours);
        }
    }

    fn age(path: &Path, hours: u64) {
        let time = SystemTime::now() - Duration::from_secs(hours * 3600);
        File::open(path).unwrap().set_modified(time).unwrap();
    }

    /// Locks of an emulated host are not seen here, nor these there.
    #[test]
    fn what_another_host_fills_is_removed_when_nothing_of_it_has_changed_for_a_day() {
        let store = tempfile::tempdir().unwrap();
        let at = |name: &str| store.path().join(name);
        let here = at(&format!("{}x", prefix()));
        let [old, new, filled] =
            ["old", "new", "filled"].map(|name| at(&format!(".staging-0123456789abcdef-{name}")));
        directory(&here, 0);
        directory(&old, 25);
        directory(&new, 1);
        directory(&filled, 25);
        age(&filled.join("modules/kernel/a.ko"), 1);
        drop(Staging::new(store.path()).unwrap());
        assert!(!here.exists() && !old.exists());
        assert!(new.join("modules/kernel/a.ko").exists() && filled.join("modules/kernel/a.ko").exists());
        // Also what is old is somebody's when it is locked.
        let living = Staging::new(store.path()).unwrap();
        directory(living.path(), 48);
        drop(Staging::new(store.path()).unwrap());
        assert!(living.path().exists());
    }

    #[test]
    fn files_that_were_never_written_to_their_ends_go_when_they_are_old() {
        let store = tempfile::tempdir().unwrap();
        let archives = store.path().join("kernel").join(ARCHIVES);
        fs::create_dir_all(&archives).unwrap();
        let files = |name: &str| [store.path().join(name), archives.join(name)];
        let [old, new, whole] = [".writing-old", ".writing-new", "whole"].map(files);
        for file in [&old, &new, &whole].into_iter().flatten() {
            fs::write(file, "x").unwrap();
        }
        old.iter().chain(&whole).for_each(|file| age(file, 25));
        drop(Staging::new(store.path()).unwrap());
        assert!(old.iter().all(|file| !file.exists()));
        assert!(new.iter().chain(&whole).all(|file| file.exists()));
        drop(StoreLock::acquire(store.path()).unwrap());
    }
}
