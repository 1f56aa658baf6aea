//! One directory in the place of another where the file system cannot exchange them: not in one step, but so that
//! whoever is killed between the steps loses nothing.
//!
//! The old one is set aside under a name that says whose place it had. Whoever takes the store's lock next sees it
//! there: with the place empty, it goes back; with the new one in the place, it goes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{StoreLock, remove, sync_parent};

const PREFIX: &str = ".replaced-";

/// Puts `new` in the place of `old`, which is in `store`.
pub fn replace(store: &Path, new: &Path, old: &Path, lock: &StoreLock) -> io::Result<()> {
    let aside = set_aside(store, old)?;
    if let Err(error) = fs::rename(new, old) {
        fs::rename(&aside, old)?;
        return Err(error);
    }
    sync_parent(old)?;
    remove(store, &aside, lock)
}

fn set_aside(store: &Path, old: &Path) -> io::Result<PathBuf> {
    let mut name = std::ffi::OsString::from(PREFIX);
    name.push(old.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    let aside = store.join(name);
    fs::rename(old, &aside)?;
    Ok(aside)
}

/// Ends what a process that was killed has begun.
pub fn settle(store: &Path, lock: &StoreLock) -> io::Result<()> {
    for name in names(store)? {
        let (place, aside) = (store.join(&name), store.join(format!("{PREFIX}{name}")));
        if place.try_exists()? {
            remove(store, &aside, lock)?;
        } else {
            fs::rename(&aside, &place)?;
            sync_parent(&place)?;
        }
    }
    Ok(())
}

/// Whose content is set aside, for a moment or by a process that was killed.
pub fn names(store: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(store)? {
        let name = entry?.file_name();
        names.extend(name.to_str().and_then(|name| name.strip_prefix(PREFIX)).map(str::to_owned));
    }
    Ok(names)
}

/// Whether the content of that name is set aside.
pub fn holds(store: &Path, name: &str) -> bool {
    store.join(format!("{PREFIX}{name}")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far a process has come when it is killed.
    #[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
    enum Killed {
        Before,
        WithTheOldSetAside,
        WithTheNewInItsPlace,
        WhileTheOldIsRemoved,
    }

    const ALL: [Killed; 4] = [
        Killed::Before,
        Killed::WithTheOldSetAside,
        Killed::WithTheNewInItsPlace,
        Killed::WhileTheOldIsRemoved,
    ];

    /// A store whose `x` was being replaced: the steps of [`replace`], up to one of them.
    fn store(killed: Killed) -> tempfile::TempDir {
        let store = tempfile::tempdir().unwrap();
        let at = |name: &str| store.path().join(name);
        let staging = |number: u32| at(&format!("{}{number}", super::super::abandoned::prefix()));
        for (directory, content) in [(at("x"), "old"), (staging(1), "new")] {
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("file"), content).unwrap();
        }
        if killed >= Killed::WithTheOldSetAside {
            set_aside(store.path(), &at("x")).unwrap();
        }
        if killed >= Killed::WithTheNewInItsPlace {
            fs::rename(staging(1), at("x")).unwrap();
        }
        if killed >= Killed::WhileTheOldIsRemoved {
            fs::create_dir(staging(2)).unwrap();
            fs::rename(at(".replaced-x"), staging(2).join("removed")).unwrap();
            fs::remove_file(staging(2).join("removed/file")).unwrap();
        }
        store
    }

    #[test]
    fn whoever_is_killed_at_any_point_leaves_the_old_or_the_new() {
        for killed in ALL {
            let store = store(killed);
            // What comes next may be killed as well.
            for _ in 0..2 {
                drop(StoreLock::acquire(store.path()).unwrap());
                let content = fs::read_to_string(store.path().join("x/file")).unwrap();
                let expected = if killed >= Killed::WithTheNewInItsPlace { "new" } else { "old" };
                assert_eq!(content, expected, "{killed:?}");
            }
            drop(crate::staging::Staging::new(store.path()).unwrap());
            let mut left: Vec<_> =
                fs::read_dir(store.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            left.sort();
            assert_eq!(left, [".lock", "x"], "{killed:?}");
        }
    }
}
