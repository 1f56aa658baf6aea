//! A directory below another, found step by step: what openat2(2) does, for kernels that lack it (before Linux 5.6)
//! and filters that do not know it.
//!
//! The kernel is given one plain name at a time and told to follow nothing. Links are read and walked here, and `..`
//! goes back to a directory that the walk has come through, never to what is above it by now. So whatever others
//! rename or replace meanwhile, nothing above the directory that the walk began in is ever reached.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat, readlinkat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use crate::Links;

/// As many links the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// Opens the directory `path` below `base` to be walked from, with openat2's errors: XDEV for what leads out, LOOP for
/// links where none are to be followed, or too many.
pub fn directory(base: BorrowedFd<'_>, path: &[u8], links: Links) -> Result<OwnedFd, Errno> {
    // The directories that the walk has come through; the last is where it is. None: at the base. Deeper than a process
    // may have descriptors it does not go: EMFILE.
    let mut through: Vec<OwnedFd> = Vec::new();
    let mut followed = 0;
    let mut ahead = Vec::new();
    put_ahead(&mut ahead, path, links, &mut through)?;
    while let Some(name) = ahead.pop() {
        if name == b".." {
            if through.pop().is_none() && links != Links::Root {
                return Err(Errno::XDEV);
            }
            continue;
        }
        let here = through.last().map_or(base, AsFd::as_fd);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = openat(here, OsStr::from_bytes(&name), flags, Mode::empty())?;
        match FileType::from_raw_mode(fstat(&found)?.st_mode) {
            FileType::Directory => through.push(found),
            FileType::Symlink => {
                followed += 1;
                if links == Links::Refused || followed > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = readlinkat(&found, c"", Vec::new())?;
                put_ahead(&mut ahead, target.as_bytes(), links, &mut through)?;
            }
            _ => return Err(Errno::NOTDIR),
        }
    }
    match through.pop() {
        Some(directory) => Ok(directory),
        None => fcntl_dupfd_cloexec(base, 0),
    }
}

/// Has the walk go along `path` next, before what is ahead already.
fn put_ahead(
    ahead: &mut Vec<Vec<u8>>,
    path: &[u8],
    links: Links,
    through: &mut Vec<OwnedFd>,
) -> Result<(), Errno> {
    if path.starts_with(b"/") {
        if links != Links::Root {
            return Err(Errno::XDEV);
        }
        through.clear();
    }
    let names = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    ahead.extend(names.rev().map(<[u8]>::to_vec));
    Ok(())
}

/// How openat2(2) is to treat links.
pub fn resolve_flags(links: Links) -> ResolveFlags {
    let below = match links {
        Links::Refused => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        Links::Beneath => ResolveFlags::BENEATH,
        Links::Root => ResolveFlags::IN_ROOT,
    };
    ResolveFlags::NO_MAGICLINKS | below
}

#[cfg(test)]
#[path = "steps_test.rs"]
mod tests;
