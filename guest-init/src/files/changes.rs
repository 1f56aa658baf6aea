//! How a machine's root differs from its image.

use std::ffi::{CStr, CString};
use std::io::Write;

use file_tree::{Result, join, names};
use guest_protocol::files::{Change, ChangeKind, Item, ItemWriter};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, statat};

use super::placeholders::Placeholders;
use super::whiteout::{is_opaque, is_whiteout};
use crate::overlay::Layers;

/// Sends every path that was added, changed or deleted, in order. What is below a deleted directory is
/// not named.
pub fn send<W: Write>(layers: &Layers, to: &mut ItemWriter<W>) -> Result<()> {
    let placeholders = Placeholders::find(layers);
    let mut comparison = Comparison { to, placeholders };
    comparison.directory(layers.upper.as_fd(), Some(layers.lower.as_fd()), false, b"")
}

struct Comparison<'a, W: Write> {
    to: &'a mut ItemWriter<W>,
    placeholders: Placeholders,
}

impl<W: Write> Comparison<'_, W> {
    /// `replaced`: what is in `lower` is not in the root, unless `upper` has it, too.
    fn directory(
        &mut self,
        upper: BorrowedFd<'_>,
        lower: Option<BorrowedFd<'_>>,
        replaced: bool,
        path: &[u8],
    ) -> Result<()> {
        let mut names = listed(upper, path)?;
        if let Some(lower) = lower.filter(|_| replaced) {
            names.extend(listed(lower, path)?);
            names.sort();
            names.dedup();
        }
        for name in names {
            let path = join(path, name.to_bytes());
            if !self.placeholders.is_unchanged(&path) {
                self.one(upper, lower, replaced, &name, &path)?;
            }
        }
        Ok(())
    }

    fn one(
        &mut self,
        upper: BorrowedFd<'_>,
        lower: Option<BorrowedFd<'_>>,
        replaced: bool,
        name: &CStr,
        path: &[u8],
    ) -> Result<()> {
        let below = lower.and_then(|lower| look(lower, name));
        let Some(above) = look(upper, name).filter(|above| !is_whiteout(above)) else {
            return match below {
                Some(_) => self.tell(path, ChangeKind::Deleted),
                // Made and deleted again.
                None => Ok(()),
            };
        };
        self.tell(path, if below.is_some() { ChangeKind::Changed } else { ChangeKind::Added })?;
        if !is_directory(&above) {
            return Ok(());
        }
        let Some(directory) = open_directory(upper, name) else { return Ok(()) };
        let lower = lower.filter(|_| below.as_ref().is_some_and(is_directory));
        let lower = lower.and_then(|lower| open_directory(lower, name));
        let replaced = replaced || is_opaque(directory.as_fd());
        self.directory(directory.as_fd(), lower.as_ref().map(AsFd::as_fd), replaced, path)
    }

    fn tell(&mut self, path: &[u8], kind: ChangeKind) -> Result<()> {
        Ok(self.to.item(&Item::Change(Change { path: path.to_vec(), kind }))?)
    }
}

fn listed(directory: BorrowedFd<'_>, path: &[u8]) -> Result<Vec<CString>> {
    names(directory).map_err(|error| file_tree::Error::System {
        doing: "read the directory",
        path: String::from_utf8_lossy(path).into_owned(),
        error,
    })
}

fn look(parent: BorrowedFd<'_>, name: &CStr) -> Option<Stat> {
    statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).ok()
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty()).ok()
}
