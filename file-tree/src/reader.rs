//! From a directory to a stream of entries.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io::Write;
use std::time::Duration;

use guest_protocol::files::{Entry, Item, ItemWriter, Kind, MAX_PATH};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::{Errno, read};

use crate::attributes::{attributes_of, entry};
use crate::{Result, To, join, shown};

/// How much of a file is read at a time, in bytes.
const PIECE: usize = 64 << 10;

/// A file that has no size and yet content, as those of /proc, is sent up to so many bytes.
const MAX_UNSIZED: usize = 4 << 20;

/// How long all the holders of leases on a tree's files may take, together. The kernel leaves one of them 45 seconds
/// (fs.lease-break-time); who has lost one cannot have it back as long as the file is read.
const LEASE_PATIENCE: Duration = Duration::from_secs(60);
const LEASE_STEP: Duration = Duration::from_millis(20);

/// How often a word is said of it.
const LEASE_WORD: Duration = Duration::from_secs(10);

/// Sends trees of files. What changes meanwhile is sent as it is found: a file that shrinks is made up
/// with zeroes, one that grows is cut, and a warning says so.
pub struct TreeReader<'a, W: Write> {
    writer: &'a mut ItemWriter<W>,
    wanted_xattrs: fn(&[u8]) -> bool,
    leave_out: &'a dyn Fn(&[u8]) -> bool,
    adapt: fn(&mut Entry),
    /// Files with several names, by device and inode, and the first of the names.
    links: HashMap<(u64, u64), Vec<u8>>,
    piece: Vec<u8>,
    /// How long leases are still waited for.
    patience: Duration,
}

impl<'a, W: Write> TreeReader<'a, W> {
    /// Extended attributes are sent when their name is `wanted_xattrs`.
    pub fn new(writer: &'a mut ItemWriter<W>, wanted_xattrs: fn(&[u8]) -> bool) -> TreeReader<'a, W> {
        let (links, piece) = (HashMap::new(), vec![0; PIECE]);
        let patience = LEASE_PATIENCE;
        TreeReader { writer, wanted_xattrs, leave_out: &|_| false, adapt: |_| {}, links, piece, patience }
    }

    /// Leaves out what has one of these paths, and everything below it.
    pub fn leaving_out(self, leave_out: &'a dyn Fn(&[u8]) -> bool) -> TreeReader<'a, W> {
        TreeReader { leave_out, ..self }
    }

    /// Changes entries before they are sent: owners, say.
    pub fn adapting(self, adapt: fn(&mut Entry)) -> TreeReader<'a, W> {
        TreeReader { adapt, ..self }
    }

    /// Sends what `name` in `parent` is as `path`, and everything below it. An empty `name` is `parent`.
    pub fn tree(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<()> {
        match self.one(parent, name, path)? {
            Some(directory) => self.below(directory.as_fd(), path),
            None => Ok(()),
        }
    }

    /// Sends everything below a directory.
    pub fn below(&mut self, directory: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
        for name in names(directory).to("read the directory", path)? {
            let path = join(path, name.to_bytes());
            if !(self.leave_out)(&path) {
                self.tree(directory, &name, &path)?;
            }
        }
        Ok(())
    }

    /// Sends one entry, and not what is below it: it is returned open if it is a directory. What is gone
    /// by now, or is a socket, is not sent.
    pub fn one(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<Option<OwnedFd>> {
        if path.len() > MAX_PATH {
            self.warn(path, "has a path that is too long and was left out")?;
            return Ok(None);
        }
        let found = match name.is_empty() {
            true => fstat(parent),
            false => statat(parent, name, AtFlags::SYMLINK_NOFOLLOW),
        };
        let stat = match found {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat.to("look at", path)?,
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return self.directory(parent, name, path),
            FileType::Socket => {
                self.warn(path, "is a socket and was left out")?;
                return Ok(None);
            }
            _ if self.is_link(&stat, path)? => return Ok(None),
            FileType::RegularFile => {
                if let Some(sent) = self.file(parent, name, path)? {
                    self.remember(&sent, path);
                }
                return Ok(None);
            }
            FileType::Symlink => match readlinkat(parent, name, Vec::new()) {
                Ok(target) => Kind::Symlink(target.into_bytes()),
                Err(Errno::NOENT | Errno::INVAL) => {
                    self.changed(path)?;
                    return Ok(None);
                }
                Err(error) => return Err(error).to("read the link", path),
            },
            kind => match special(kind, &stat) {
                Some(kind) => kind,
                None => {
                    self.warn(path, "is of an unknown type and was left out")?;
                    return Ok(None);
                }
            },
        };
        self.send(entry(path, kind, &stat))?;
        self.remember(&stat, path);
        Ok(None)
    }

    /// Sends an entry as it is, one of a file without its bytes.
    pub fn send(&mut self, mut entry: Entry) -> Result<()> {
        (self.adapt)(&mut entry);
        Ok(self.writer.item(&Item::Entry(entry))?)
    }

    pub fn warn(&mut self, path: &[u8], problem: &str) -> Result<()> {
        Ok(self.writer.warning(&["‘", &shown(path), "’ ", problem].concat())?)
    }

    fn directory(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<Option<OwnedFd>> {
        let name = if name.is_empty() { c"." } else { name };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match openat(parent, name, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                self.changed(path)?;
                return Ok(None);
            }
            directory => directory.to("open the directory", path)?,
        };
        let stat = fstat(&directory).to("look at", path)?;
        let entry = self.with_xattrs(directory.as_fd(), entry(path, Kind::Directory, &stat))?;
        self.send(entry)?;
        Ok(Some(directory))
    }

    /// Returns what was sent, if it was.
    fn file(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<Option<Stat>> {
        // Not to wait for whatever may have taken its place.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match self.open_leased(parent, name, flags, path)? {
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => {
                self.changed(path)?;
                return Ok(None);
            }
            Err(Errno::AGAIN) => {
                self.warn(path, "is another process's alone (by a lease) and was left out")?;
                return Ok(None);
            }
            file => file.to("open", path)?,
        };
        let stat = fstat(&file).to("look at", path)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            self.changed(path)?;
            return Ok(None);
        }
        if stat.st_size == 0 {
            self.unsized_file(&file, path, &stat)?;
            return Ok(Some(stat));
        }
        let kind = Kind::File(stat.st_size as u64);
        let entry = self.with_xattrs(file.as_fd(), entry(path, kind, &stat))?;
        self.send(entry)?;
        while self.writer.left() > 0 {
            let wanted = self.writer.left().min(PIECE as u64) as usize;
            let count = read_some(&file, &mut self.piece[..wanted]).to("read", path)?;
            if count == 0 {
                self.writer.pad()?;
                self.warn(path, "became shorter while it was read, and ends in zeroes")?;
                break;
            }
            self.writer.data(&self.piece[..count])?;
        }
        Ok(Some(stat))
    }

    /// Opens what may be under a lease: the kernel then asks its holder to let go, and sees to that after a while.
    fn open_leased(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        flags: OFlags,
        path: &[u8],
    ) -> Result<std::result::Result<OwnedFd, Errno>> {
        loop {
            let file = openat(parent, name, flags, Mode::empty());
            let left = self.patience.checked_sub(LEASE_STEP);
            let (Err(Errno::AGAIN), Some(left)) = (&file, left) else { return Ok(file) };
            std::thread::sleep(LEASE_STEP);
            self.patience = left;
            if left.as_millis().is_multiple_of(LEASE_WORD.as_millis()) {
                // Nobody who reads the stream waits that long for nothing.
                self.warn(path, "is waited for: another process has a lease on it")?;
                self.writer.flush()?;
            }
        }
    }

    /// A file that says it is empty: whether it is shows when it is read.
    fn unsized_file(&mut self, file: &OwnedFd, path: &[u8], stat: &Stat) -> Result<()> {
        let mut content = Vec::new();
        let mut cut = false;
        loop {
            let count = match read_some(file, &mut self.piece) {
                // What would wait has nothing to say now, and what cannot be read is not worth the rest.
                Err(Errno::AGAIN | Errno::INVAL | Errno::IO | Errno::PERM | Errno::ACCESS) => 0,
                count => count.to("read", path)?,
            };
            if count == 0 {
                break;
            }
            if content.len() + count > MAX_UNSIZED {
                cut = true;
                break;
            }
            content.extend_from_slice(&self.piece[..count]);
        }
        let kind = Kind::File(content.len() as u64);
        let entry = self.with_xattrs(file.as_fd(), entry(path, kind, stat))?;
        self.send(entry)?;
        self.writer.data(&content)?;
        if cut {
            self.warn(path, "has no size and no end, and was cut")?;
        }
        Ok(())
    }

    /// Sends a file that was sent under another name as a link to that.
    fn is_link(&mut self, stat: &Stat, path: &[u8]) -> Result<bool> {
        if stat.st_nlink < 2 || path.is_empty() {
            return Ok(false);
        }
        let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) else { return Ok(false) };
        let entry = entry(path, Kind::HardLink(first.clone()), stat);
        self.send(entry)?;
        Ok(true)
    }

    /// What was sent may come again under another name.
    fn remember(&mut self, sent: &Stat, path: &[u8]) {
        if sent.st_nlink > 1 && !path.is_empty() {
            self.links.insert((sent.st_dev, sent.st_ino), path.to_vec());
        }
    }

    fn with_xattrs(&mut self, file: BorrowedFd<'_>, mut entry: Entry) -> Result<Entry> {
        let attributes = attributes_of(file, self.wanted_xattrs);
        let (xattrs, too_many) = attributes.to("read the extended attributes of", &entry.path)?;
        if too_many {
            self.warn(&entry.path, "has more extended attributes than can be sent")?;
        }
        entry.xattrs = xattrs;
        Ok(entry)
    }

    fn changed(&mut self, path: &[u8]) -> Result<()> {
        self.warn(path, "became something else while it was read, and was left out")
    }
}

fn special(kind: FileType, stat: &Stat) -> Option<Kind> {
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    match kind {
        FileType::CharacterDevice => Some(Kind::CharacterDevice(major, minor)),
        FileType::BlockDevice => Some(Kind::BlockDevice(major, minor)),
        FileType::Fifo => Some(Kind::Fifo),
        _ => None,
    }
}

fn read_some(file: &OwnedFd, into: &mut [u8]) -> std::result::Result<usize, Errno> {
    loop {
        match read(file, &mut *into) {
            Err(Errno::INTR) => {}
            count => return count,
        }
    }
}

/// The names in a directory that is open, at least with O_PATH, sorted.
pub fn names(directory: BorrowedFd<'_>) -> std::result::Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for entry in Dir::new(openat(directory, c".", flags, Mode::empty())?)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
#[path = "reader_test.rs"]
mod tests;
