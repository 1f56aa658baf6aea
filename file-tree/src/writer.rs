//! From a stream of entries to files below a directory.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use guest_protocol::files::{Entry, ItemReader, Kind};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, fstat, linkat, makedev, mkdirat, mknodat, openat, openat2, seek,
    symlinkat, unlinkat,
};
use rustix::io::{Errno, write};

use crate::attributes::{apply, apply_unopened, is_just_made};
use crate::left_out::LeftOut;
use crate::{Error, Result, To, refused, shown, steps};

/// How much of a file is written at a time, in bytes.
const PIECE: usize = 64 << 10;

/// The deepest directory whose attributes are still set when it is complete.
const MAX_DEPTH: usize = 4096;

/// What a writer does with what is in the directory already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// No symbolic link is followed below the directory.
    Refused,
    /// They are followed as long as they lead to what is below it.
    Beneath,
    /// The directory is the root: every link leads to what is below it.
    Root,
}

/// What entries may bring.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    pub links: Links,
    /// Files get the owner that their entry names, else the writer's.
    pub owners: bool,
    /// Setuid, setgid and sticky bits are set.
    pub special_modes: bool,
    pub devices: bool,
    /// Which extended attributes are set.
    pub wanted_xattrs: fn(&[u8]) -> bool,
}

/// Makes files below a directory. No entry, whatever it says, makes or changes anything elsewhere.
pub struct TreeWriter<'a> {
    target: OwnedFd,
    policy: Policy,
    warn: &'a mut dyn FnMut(String),
    /// The directory of the last entry.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// The directories that the last entry is in, as far as they have come as entries: their time and
    /// mode are set when nothing more is made in them.
    begun: Vec<(Entry, OwnedFd)>,
    piece: Vec<u8>,
    unset_told: bool,
    within: Vec<u8>,
    /// Devices that were left out, which may have other names.
    left_out: LeftOut,
}

impl<'a> TreeWriter<'a> {
    /// `target` is open, at least with O_PATH.
    pub fn new(target: OwnedFd, policy: Policy, warn: &'a mut dyn FnMut(String)) -> TreeWriter<'a> {
        let (parent, begun, piece) = (None, Vec::new(), vec![0; PIECE]);
        let (unset_told, within, left_out) = (false, Vec::new(), LeftOut::default());
        TreeWriter { target, policy, warn, parent, begun, piece, unset_told, within, left_out }
    }

    /// Refuses what is neither `name` nor below it.
    pub fn within(self, name: &[u8]) -> TreeWriter<'a> {
        TreeWriter { within: name.to_vec(), ..self }
    }

    /// Makes everything that comes, to the end of the stream.
    pub fn write_all(&mut self, from: &mut ItemReader<impl Read>) -> Result<()> {
        let written = self.write_entries(from);
        // Also what is not complete has been made.
        let finished = self.finish(0);
        written.and(finished)
    }

    fn write_entries(&mut self, from: &mut ItemReader<impl Read>) -> Result<()> {
        while let Some(mut entry) = from.entry(&mut *self.warn)? {
            entry.xattrs.retain(|xattr| (self.policy.wanted_xattrs)(&xattr.name));
            self.write(&entry, from)?;
        }
        Ok(())
    }

    fn write(&mut self, entry: &Entry, from: &mut ItemReader<impl Read>) -> Result<()> {
        let path = entry.path.as_slice();
        let target = if let Kind::HardLink(target) = &entry.kind { target } else { path };
        if !self.is_within(path) || !self.is_within(target) {
            return Err(refused(path, "is not what was asked for, nor below it"));
        }
        let (parent_path, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            // The target itself stays what it is.
            None if path.is_empty() && entry.kind == Kind::Directory => return Ok(()),
            None if path.is_empty() => {
                return Err(refused(path, "is a directory, and nothing else can take its place"));
            }
            None => (&b""[..], path),
        };
        self.finish_left(path)?;
        let parent = match self.parent.take() {
            Some((known, parent)) if known == parent_path => parent,
            _ => self.directory(parent_path, true)?,
        };
        let name = OsStr::from_bytes(name);
        let written = self.write_in(parent.as_fd(), name, entry, from);
        self.parent = Some((parent_path.to_vec(), parent));
        written
    }

    fn write_in(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        entry: &Entry,
        from: &mut ItemReader<impl Read>,
    ) -> Result<()> {
        let path = entry.path.as_slice();
        if entry.kind == Kind::Directory {
            return self.write_directory(parent, name, entry);
        }
        if let Kind::CharacterDevice(..) | Kind::BlockDevice(..) = entry.kind
            && !self.policy.devices
        {
            (self.warn)(["‘", &shown(path), "’ is a device and was left out"].concat());
            self.left_out.remember(path);
            return Ok(());
        }
        if let Kind::HardLink(target) = &entry.kind
            && self.left_out.has(target)
        {
            (self.warn)(["‘", &shown(path), "’ is another name of a device and was left out"].concat());
            return Ok(());
        }
        match unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => {
                return Err(refused(path, "is a directory, and what would take its place is none"));
            }
            // A file that something is mounted on: its content can still be replaced.
            Err(Errno::BUSY) if matches!(entry.kind, Kind::File(_)) => {
                return self.write_file(parent, name, OFlags::TRUNC, entry, from);
            }
            Err(error) => return Err(error).to("replace", path),
        }
        match &entry.kind {
            Kind::File(_) => {
                return self.write_file(parent, name, OFlags::CREATE | OFlags::EXCL, entry, from);
            }
            Kind::Symlink(target) => {
                symlinkat(OsStr::from_bytes(target), parent, name).to("make the link", path)?;
            }
            Kind::HardLink(target) => return self.write_link(parent, name, entry, target),
            Kind::CharacterDevice(major, minor) => {
                self.write_node(parent, name, entry, FileType::CharacterDevice, makedev(*major, *minor))?;
            }
            Kind::BlockDevice(major, minor) => {
                self.write_node(parent, name, entry, FileType::BlockDevice, makedev(*major, *minor))?;
            }
            Kind::Fifo => self.write_node(parent, name, entry, FileType::Fifo, 0)?,
            Kind::Directory => {}
        }
        self.set_unopened(parent, name, entry)
    }

    fn write_directory(&mut self, parent: BorrowedFd<'_>, name: &OsStr, entry: &Entry) -> Result<()> {
        let path = entry.path.as_slice();
        let directory = match mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => open_directory(parent, name).to("open", path)?,
            Err(Errno::EXIST) => match self.directory(path, false) {
                Err(Error::System { error: Errno::NOTDIR, .. }) => {
                    return Err(refused(path, "is no directory, and one would take its place"));
                }
                directory => directory?,
            },
            Err(error) => return Err(error).to("make the directory", path),
        };
        if self.begun.len() < MAX_DEPTH {
            self.begun.push((entry.clone(), directory));
        }
        Ok(())
    }

    fn write_file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        how: OFlags,
        entry: &Entry,
        from: &mut ItemReader<impl Read>,
    ) -> Result<()> {
        let path = entry.path.as_slice();
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | how;
        let file = openat(parent, name, flags, Mode::from_raw_mode(0o600)).to("make", path)?;
        // Zeroes at the file's end exist because of its size alone.
        let mut ends_in_hole = false;
        while from.left() > 0 {
            let count = fill(&mut self.piece, from)?;
            let piece = &self.piece[..count];
            ends_in_hole = count == PIECE && piece.iter().all(|byte| *byte == 0);
            if ends_in_hole {
                seek(&file, rustix::fs::SeekFrom::Current(count as i64)).to("write", path)?;
            } else {
                write_all(&file, piece).to("write", path)?;
            }
        }
        if ends_in_hole {
            rustix::fs::ftruncate(&file, entry.size()).to("write", path)?;
        }
        self.set(file.as_fd(), entry)
    }

    /// With its mode, as far as the umask lets it: to change that later by name could change another file.
    fn write_node(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        entry: &Entry,
        kind: FileType,
        device: u64,
    ) -> Result<()> {
        let mode = Mode::from_raw_mode(self.mode(entry).into());
        mknodat(parent, name, kind, mode, device).to("make the special file", &entry.path)
    }

    fn write_link(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        entry: &Entry,
        target: &[u8],
    ) -> Result<()> {
        let (directory, last) = match target.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&target[..slash], &target[slash + 1..]),
            None => (&b""[..], target),
        };
        let directory = self.directory(directory, false)?;
        linkat(&directory, OsStr::from_bytes(last), parent, name, AtFlags::empty())
            .to("make the hard link", &entry.path)
    }

    /// The directory `path` below the target, resolved as links are to be.
    fn directory(&self, path: &[u8], make: bool) -> Result<OwnedFd> {
        if path.is_empty() {
            return rustix::io::fcntl_dupfd_cloexec(&self.target, 0).to("open", path);
        }
        let resolve = steps::resolve_flags(self.policy.links);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = match openat2(&self.target, OsStr::from_bytes(path), flags, Mode::empty(), resolve) {
            // Before Linux 5.6, or where a filter does not know it; or something, anywhere, was renamed or mounted
            // meanwhile, and may be all the time.
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => {
                steps::directory(self.target.as_fd(), path, self.policy.links)
            }
            opened => opened,
        };
        match opened {
            Ok(directory) => Ok(directory),
            Err(Errno::NOENT) if make => {
                let above =
                    path.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |slash| &path[..slash]);
                let parent = self.directory(above, true)?;
                let name = OsStr::from_bytes(path[above.len()..].strip_prefix(b"/").unwrap_or(path));
                match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) => open_directory(parent.as_fd(), name).to("open", path),
                    Err(error) => Err(error).to("make the directory", path),
                }
            }
            Err(Errno::XDEV) => {
                Err(refused(path, "is a symbolic link that leads away from where files are copied to"))
            }
            Err(Errno::LOOP) => Err(refused(path, "is a symbolic link, through which nothing is copied")),
            Err(error) => Err(error).to("open the directory", path),
        }
    }

    /// Sets the attributes of the directories that `path` is not in.
    fn finish_left(&mut self, path: &[u8]) -> Result<()> {
        let is_in =
            |directory: &[u8]| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"));
        let kept = self.begun.iter().take_while(|(entry, _)| is_in(&entry.path)).count();
        self.finish(kept)
    }

    fn finish(&mut self, kept: usize) -> Result<()> {
        while self.begun.len() > kept {
            let Some((entry, directory)) = self.begun.pop() else { break };
            // What is opened with O_PATH can be entered and not changed.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = openat(&directory, c".", flags, Mode::empty()).to("open", &entry.path)?;
            self.set(directory.as_fd(), &entry)?;
        }
        Ok(())
    }

    fn set(&mut self, file: BorrowedFd<'_>, entry: &Entry) -> Result<()> {
        let mode = self.mode(entry);
        let unset = apply(file, entry, self.policy.owners, mode).to("set the attributes of", &entry.path)?;
        if let Some(name) = unset.0.first()
            && !self.unset_told
        {
            // Once: a file system that does not take one takes none.
            self.unset_told = true;
            let (path, name) = (shown(&entry.path), String::from_utf8_lossy(name));
            (self.warn)(
                ["‘", &path, "’ could not be given its ", &name, ", and others may not either"].concat(),
            );
        }
        Ok(())
    }

    /// For what cannot be opened without consequences, and has just been made. Whoever may write to the directory can
    /// have given its name to another file: that one keeps its owner.
    fn set_unopened(&mut self, parent: BorrowedFd<'_>, name: &OsStr, entry: &Entry) -> Result<()> {
        let (path, owners) = (entry.path.as_slice(), self.policy.owners);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inode = match openat(parent, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => None,
            inode => Some(inode.to("open", path)?),
        };
        if let Some(inode) = inode
            && is_just_made(&fstat(&inode).to("look at", path)?, &entry.kind, owners)
        {
            return apply_unopened(inode.as_fd(), (parent, name), entry, owners)
                .to("set the attributes of", path);
        }
        (self.warn)(["‘", &shown(path), "’ became something else while it was written"].concat());
        Ok(())
    }

    fn is_within(&self, path: &[u8]) -> bool {
        let rest = path.strip_prefix(self.within.as_slice());
        self.within.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }

    fn mode(&self, entry: &Entry) -> u16 {
        if self.policy.special_modes { entry.mode } else { entry.mode & 0o777 }
    }
}

/// Opens a directory to enter it, but not through a link.
fn open_directory(parent: BorrowedFd<'_>, name: &OsStr) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Reads as much as there is room for, or to the file's end.
fn fill(piece: &mut [u8], from: &mut ItemReader<impl Read>) -> Result<usize> {
    let mut filled = 0;
    while filled < piece.len() && from.left() > 0 {
        filled += from.data(&mut piece[filled..])?;
    }
    Ok(filled)
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> std::result::Result<(), Errno> {
    while !bytes.is_empty() {
        match write(file, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "writer_test.rs"]
mod tests;
