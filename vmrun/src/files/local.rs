//! This host's end of a copy.

use std::ffi::CString;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use file_tree::{Error, Links, Policy, TreeReader, TreeWriter};
use guest_protocol::files::{Entry, ItemReader, ItemWriter};
use rustix::fs::{CWD, Mode, OFlags, open};

/// Sends what is at `path`, and everything below it, as `name`. With `archive`, owners and all mode bits
/// are kept, else they are root's and plain.
pub fn send<W: Write>(
    path: &Path,
    name: &[u8],
    archive: bool,
    to: &mut ItemWriter<W>,
) -> std::result::Result<(), Error> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    let tree = match archive {
        true => TreeReader::new(to, is_kept),
        false => TreeReader::new(to, is_users).adapting(belongs_to_root),
    };
    { tree }.tree(CWD, &path, name)
}

/// Makes what comes below `directory`, and nothing but `name` there, if that is not empty. With `archive`, owners and all mode bits are as they come, else
/// files are this user's and their modes plain.
pub fn receive(
    directory: &Path,
    name: &[u8],
    archive: bool,
    from: &mut ItemReader<impl Read>,
    warn: &mut dyn FnMut(String),
) -> Result<std::result::Result<(), Error>> {
    let target = open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("cannot open the directory {}", directory.display()))?;
    let policy = Policy {
        // What comes is a machine's word: no link that it has made, or knows of, is followed.
        links: Links::Refused,
        owners: archive,
        special_modes: archive,
        devices: archive && rustix::process::geteuid().is_root(),
        wanted_xattrs: if archive { is_kept } else { is_users },
    };
    Ok(TreeWriter::new(target, policy, warn).within(name).write_all(from))
}

/// A setuid bit is a promise of the owner's, who is another one from here on.
fn belongs_to_root(entry: &mut Entry) {
    (entry.uid, entry.gid) = (0, 0);
    entry.mode &= 0o1777;
}

fn is_users(name: &[u8]) -> bool {
    name.starts_with(b"user.")
}

fn is_kept(name: &[u8]) -> bool {
    is_users(name) || name == b"security.capability" || name.starts_with(b"system.posix_acl_")
}
