//! Files on their way between host and guest: what cp, diff, commit and export ask guest-init for.
//!
//! On a connection greeted with [`crate::Hello::Files`] the host sends one [`Request`] frame. The guest
//! answers with frames of [`Item`]s, of which the last is [`Item::Done`] or [`Item::Failed`]: a stream
//! that ends without either was cut. After an [`Item::Entry`] of a file come exactly as many raw bytes
//! as the entry says, whatever happens to the file meanwhile; [`stream`] keeps count of them. To
//! [`Request::Write`] belongs such a stream from the host, too, ended by [`Item::Done`].
//!
//! Neither side believes the other: [`Entry::check`] is where a name is looked at, once.

pub mod stream;

use serde::{Deserialize, Serialize};

pub use stream::{ItemReader, ItemWriter};

/// The longest path in bytes, as the kernel has it.
pub const MAX_PATH: usize = 4096;

/// The longest name in a directory, in bytes.
pub const MAX_NAME: usize = 255;

/// Names and values of an entry's extended attributes come to at most so many bytes, so that every
/// entry fits in a frame.
pub const MAX_XATTRS: usize = 48 << 10;

/// The longest message, in bytes.
pub const MAX_MESSAGE: usize = 8 << 10;

/// What the host wants. Paths are absolute, in the root that the machine's process sees; other than
/// an entry's, they may have `..` and symbolic links in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// What is at `path`: one [`Item::Found`].
    Look { path: Vec<u8>, follow: bool },
    /// What is at `path`, and everything below it, as entries. A symbolic link is followed where
    /// `path` ends with a slash. Instead of `path` the entries' names begin with `name`; where that
    /// is empty, the first one's name is.
    Read { path: Vec<u8>, name: Vec<u8> },
    /// Makes the entries that follow below the existing `directory`.
    Write { directory: Vec<u8> },
    /// How the root differs from the image, as [`Item::Change`]s.
    Changes,
    /// The writable layer as an OCI image layer's entries, whiteouts among them.
    Layer {
        /// The machine's processes stand still meanwhile.
        freeze: bool,
    },
    /// The whole root without what is mounted in it, as entries.
    Root,
}

/// One frame of a stream of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// A file's bytes follow this frame.
    Entry(Entry),
    Change(Change),
    /// `None` if there is nothing at that path.
    Found(Option<Found>),
    /// Something is not as it was asked for, and the rest goes on.
    Warning(String),
    /// All is said.
    Done,
    /// The rest will not come.
    Failed(String),
}

/// A file, a directory or whatever else has a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Relative, without `.` and `..`; empty for what was asked for itself.
    pub path: Vec<u8>,
    pub kind: Kind,
    /// Permission bits, setuid, setgid and sticky.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub modified: Time,
    pub xattrs: Vec<Xattr>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Directory,
    /// Its size in bytes.
    File(u64),
    /// What it points to.
    Symlink(Vec<u8>),
    /// The path of an entry that came before.
    HardLink(Vec<u8>),
    /// Major and minor number.
    CharacterDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// Since the epoch; nanoseconds always count forward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xattr {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

/// How one path differs from the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Relative to the root.
    pub path: Vec<u8>,
    pub kind: ChangeKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    Added,
    Changed,
    Deleted,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Found {
    Directory,
    File,
    /// What it points to.
    Symlink(Vec<u8>),
    Other,
}

/// Why an entry is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the entry ‘{name}’ {problem}")]
pub struct EntryError {
    pub name: String,
    pub problem: &'static str,
}

impl Entry {
    /// Sees that everything in it is what an honest side could have sent.
    pub fn check(&self) -> Result<(), EntryError> {
        let refused =
            |problem| EntryError { name: String::from_utf8_lossy(&self.path).into_owned(), problem };
        check_path(&self.path).map_err(refused)?;
        match &self.kind {
            Kind::Symlink(target) => check_target(target).map_err(refused)?,
            Kind::HardLink(target) if target.is_empty() => return Err(refused("is a hard link to nothing")),
            Kind::HardLink(target) => {
                check_path(target).map_err(|_| refused("is a hard link to what cannot be"))?;
            }
            _ => {}
        }
        if self.path.is_empty() && matches!(self.kind, Kind::HardLink(_)) {
            return Err(refused("has no name"));
        }
        if self.mode > 0o7777 || self.modified.nanoseconds >= 1_000_000_000 {
            return Err(refused("has a mode or a time that cannot be"));
        }
        let names = |xattr: &Xattr| {
            !xattr.name.is_empty() && xattr.name.len() <= MAX_NAME && !xattr.name.contains(&0)
        };
        if !self.xattrs.iter().all(names) {
            return Err(refused("has an extended attribute that cannot be"));
        }
        Ok(())
    }

    /// How many bytes follow it.
    pub fn size(&self) -> u64 {
        match self.kind {
            Kind::File(size) => size,
            _ => 0,
        }
    }
}

/// Sees that `path` is relative and stays below where it begins. Empty is where it begins.
pub fn check_path(path: &[u8]) -> Result<(), &'static str> {
    if path.is_empty() {
        return Ok(());
    }
    if path.len() > MAX_PATH {
        return Err("has a path that is too long");
    }
    if path.contains(&0) {
        return Err("has a NUL in its path");
    }
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" => return Err("has an absolute path, or an empty name in it"),
            b"." | b".." => return Err("has a path with ‘.’ or ‘..’ in it"),
            name if name.len() > MAX_NAME => return Err("has a name that is too long"),
            _ => {}
        }
    }
    Ok(())
}

fn check_target(target: &[u8]) -> Result<(), &'static str> {
    match target {
        [] => Err("is a link to nothing"),
        target if target.len() > MAX_PATH => Err("is a link to what is too long"),
        target if target.contains(&0) => Err("is a link to what has a NUL in it"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: Kind) -> Entry {
        let modified = Time::default();
        Entry { path: path.into(), kind, mode: 0o644, uid: 0, gid: 0, modified, xattrs: Vec::new() }
    }

    #[test]
    fn paths_that_lead_away_are_refused() {
        for good in ["", "a", "a/b", "...", "a/..b", ".hidden"] {
            assert_eq!(entry(good, Kind::Fifo).check(), Ok(()), "{good}");
        }
        let long = "n/".repeat(MAX_PATH / 2) + "n";
        for bad in ["/", "/etc", "..", "a/../b", "a/..", ".", "a//b", "a/", "a\0b", &"n".repeat(256), &long] {
            assert!(entry(bad, Kind::Fifo).check().is_err(), "{bad}");
        }
    }

    #[test]
    fn links_are_looked_at() {
        assert_eq!(entry("a", Kind::Symlink("../../etc".into())).check(), Ok(()));
        assert!(entry("a", Kind::Symlink(Vec::new())).check().is_err());
        assert_eq!(entry("a", Kind::HardLink("b/c".into())).check(), Ok(()));
        for bad in ["", "/etc/shadow", "../b"] {
            assert!(entry("a", Kind::HardLink(bad.into())).check().is_err(), "{bad}");
        }
    }

    #[test]
    fn modes_times_and_attributes_are_looked_at() {
        let good = entry("a", Kind::Directory);
        assert!(Entry { mode: 0o10000, ..good.clone() }.check().is_err());
        let modified = Time { seconds: 0, nanoseconds: 1_000_000_000 };
        assert!(Entry { modified, ..good.clone() }.check().is_err());
        let xattrs = vec![Xattr { name: b"user.\0".to_vec(), value: Vec::new() }];
        assert!(Entry { xattrs, ..good }.check().is_err());
    }
}
