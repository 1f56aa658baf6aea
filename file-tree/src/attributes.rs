//! What an inode has beside its content: owner, mode, time, extended attributes.

use std::ffi::OsStr;

use guest_protocol::files::{Entry, Kind, MAX_XATTRS, Time, Xattr};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown,
    fgetxattr, flistxattr, fsetxattr, futimens, makedev, utimensat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

/// Leaves a file's time of access as it is.
pub const OMIT: Timespec = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };

/// The kernel's own bound on a list of names.
const MAX_LIST: usize = 64 << 10;

/// An entry without extended attributes.
pub fn entry(path: &[u8], kind: Kind, stat: &Stat) -> Entry {
    Entry {
        path: path.to_vec(),
        kind,
        mode: (stat.st_mode & 0o7777) as u16,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified: Time { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 },
        xattrs: Vec::new(),
    }
}

/// The extended attributes of an open file or directory whose names are `wanted`, sorted, and whether
/// there were too many to be sent.
pub fn attributes_of(file: BorrowedFd<'_>, wanted: fn(&[u8]) -> bool) -> Result<(Vec<Xattr>, bool), Errno> {
    let mut names = vec![0; MAX_LIST];
    let length = match flistxattr(file, &mut names) {
        // A file system without any.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => 0,
        length => length?,
    };
    names.truncate(length);
    let (mut xattrs, mut bytes, mut too_many) = (Vec::new(), 0, false);
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty() && wanted(name)) {
        let mut value = vec![0; MAX_XATTRS];
        match fgetxattr(file, name, &mut value) {
            Ok(length) => value.truncate(length),
            Err(Errno::RANGE) => {
                too_many = true;
                continue;
            }
            // Gone meanwhile, or one that a file system lists and does not give.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
            Err(error) => return Err(error),
        }
        // What a name costs beside its bytes is little.
        bytes += name.len() + value.len() + 16;
        if bytes > MAX_XATTRS {
            too_many = true;
            break;
        }
        xattrs.push(Xattr { name: name.to_vec(), value });
    }
    xattrs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((xattrs, too_many))
}

/// Gives an open file or directory what its entry says. Owners first: a change of owner takes setuid and
/// capabilities away.
pub fn apply(file: impl AsFd, entry: &Entry, owners: bool, mode: u16) -> Result<Unset, Errno> {
    let file = file.as_fd();
    if owners {
        fchown(file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))?;
    }
    let mut unset = Unset::default();
    for Xattr { name, value } in &entry.xattrs {
        match fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL) => unset.0.push(name.clone()),
            outcome => outcome?,
        }
    }
    fchmod(file, Mode::from_raw_mode(mode.into()))?;
    futimens(file, &times(entry))?;
    Ok(unset)
}

/// Gives owner and time to what cannot be opened but with O_PATH, `name` in `parent`.
pub fn apply_unopened(
    inode: BorrowedFd<'_>,
    (parent, name): (BorrowedFd<'_>, &OsStr),
    entry: &Entry,
    owners: bool,
) -> Result<(), Errno> {
    if owners {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        chownat(inode, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    }
    match utimensat(inode, c"", &times(entry), AtFlags::EMPTY_PATH) {
        // Before Linux 5.8 only by name, which may be another file's by now: one's time, and nothing that matters.
        Err(Errno::INVAL) => utimensat(parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW),
        set => set,
    }
}

/// Whether an inode can be one that was just made as `kind` by this process, and nobody else's that was given its name.
/// `owners` says that it is to become another's.
pub fn is_just_made(stat: &Stat, kind: &Kind, owners: bool) -> bool {
    let (wanted, device) = match kind {
        Kind::Symlink(_) => (FileType::Symlink, None),
        Kind::Fifo => (FileType::Fifo, None),
        Kind::CharacterDevice(major, minor) => (FileType::CharacterDevice, Some(makedev(*major, *minor))),
        Kind::BlockDevice(major, minor) => (FileType::BlockDevice, Some(makedev(*major, *minor))),
        Kind::Directory | Kind::File(_) | Kind::HardLink(_) => return false,
    };
    FileType::from_raw_mode(stat.st_mode) == wanted
        && device.is_none_or(|device| stat.st_rdev == device)
        && stat.st_nlink == 1
        && (!owners || stat.st_uid == geteuid().as_raw())
}

/// Names of extended attributes that a file system did not take.
#[derive(Debug, Default)]
pub struct Unset(pub Vec<Vec<u8>>);

pub fn times(entry: &Entry) -> Timestamps {
    let Time { seconds, nanoseconds } = entry.modified;
    let modified = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: OMIT, last_modification: modified }
}
