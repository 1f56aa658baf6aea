//! What guest-init itself has made in the root of a machine: places to mount on that the image lacks.
//! None of it is the user's, so no diff, commit or export has it.

use file_tree::{attributes_of, names};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use super::whiteout::is_for_others;
use crate::overlay::Layers;

/// See `system_mounts`.
const DIRECTORIES: [&str; 4] = ["proc", "sys", "dev", "run"];

/// See `host_files`. The names in /etc.
const FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

const ETC: &str = "etc";

/// What is in the upper layer because of guest-init.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Placeholders {
    /// They exist because guest-init made them.
    made: Vec<Vec<u8>>,
    /// They are the image's, and in the upper layer because of what guest-init made in them.
    copied: Vec<Vec<u8>>,
}

impl Placeholders {
    /// Looks at both layers: what guest-init made there is empty, and the image does not have it. (What
    /// it made at an earlier start of the machine looks the same.)
    pub fn find(layers: &Layers) -> Placeholders {
        let (upper, lower) = (layers.upper.as_fd(), layers.lower.as_fd());
        let mut found = Placeholders::default();
        for name in DIRECTORIES {
            if is_absent(lower, name) && is_empty_directory(upper, name) {
                found.made.push(name.into());
            }
        }
        found.made.extend(
            layers
                .places
                .iter()
                .filter(|place| is_missing(upper, place) && is_missing(lower, place))
                .map(|place| place.clone().into_bytes()),
        );
        let Some(etc) = directory(upper, ETC) else { return found };
        let lower_etc = directory(lower, ETC);
        for name in FILES {
            let absent = lower_etc.as_ref().is_none_or(|etc| is_absent(etc.as_fd(), name));
            if absent && is_empty_file(etc.as_fd(), name) {
                found.made.push([ETC, "/", name].concat().into());
            }
        }
        let is_made = |name: &[u8]| {
            FILES
                .iter()
                .any(|file| file.as_bytes() == name && found.is_made(&[ETC, "/", file].concat().into_bytes()))
        };
        let nothing_else = names(etc.as_fd())
            .is_ok_and(|names| !names.is_empty() && names.iter().all(|name| is_made(name.to_bytes())));
        if nothing_else {
            match lower_etc {
                None if is_absent(lower, ETC) => found.made.push(ETC.into()),
                Some(lower) if are_alike(&etc, &lower) => found.copied.push(ETC.into()),
                _ => {}
            }
        }
        found
    }

    /// Whether it does not belong to the root at all.
    pub fn is_made(&self, path: &[u8]) -> bool {
        self.made.iter().any(|made| made == path)
    }

    /// Whether it does not differ from the image.
    pub fn is_unchanged(&self, path: &[u8]) -> bool {
        self.is_made(path) || self.copied.iter().any(|copied| copied == path)
    }
}

fn look(parent: BorrowedFd<'_>, name: &str) -> Result<Stat, Errno> {
    statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn is_absent(parent: BorrowedFd<'_>, name: &str) -> bool {
    matches!(look(parent, name), Err(Errno::NOENT))
}

/// Whether `path` is not there, in directories and not behind links.
fn is_missing(root: BorrowedFd<'_>, path: &str) -> bool {
    let Some((first, rest)) = path.split_once('/') else { return is_absent(root, path) };
    directory(root, first).is_none_or(|directory| is_missing(directory.as_fd(), rest))
}

fn directory(parent: BorrowedFd<'_>, name: &str) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty()).ok()
}

fn is_empty_directory(parent: BorrowedFd<'_>, name: &str) -> bool {
    directory(parent, name)
        .is_some_and(|directory| names(directory.as_fd()).is_ok_and(|names| names.is_empty()))
}

fn is_empty_file(parent: BorrowedFd<'_>, name: &str) -> bool {
    look(parent, name).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && (stat.st_size, stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) == (0, 0o644, 0, 0)
    })
}

/// Whether two directories have the same owner, mode and attributes; times do not count.
fn are_alike(one: &OwnedFd, other: &OwnedFd) -> bool {
    let (Ok(first), Ok(second)) = (fstat(one), fstat(other)) else { return false };
    let attributes = |directory: &OwnedFd| attributes_of(directory.as_fd(), is_for_others);
    (first.st_mode, first.st_uid, first.st_gid) == (second.st_mode, second.st_uid, second.st_gid)
        && attributes(one) == attributes(other)
}
