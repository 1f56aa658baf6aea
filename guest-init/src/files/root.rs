//! A machine's whole root, as its image and what was changed make it.

use std::io::Write;

use file_tree::{Error, Result, TreeReader};
use guest_protocol::files::ItemWriter;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, OpenTreeFlags, mount_bind, mount_change, open_tree};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::placeholders::Placeholders;
use super::whiteout::is_for_others;
use crate::overlay::Layers;

/// A directory that is in every root, unless the machine has removed it. What is mounted there is out of the way, in this
/// process's mounts.
const PLACE: &str = "/sys";

/// Sends all of it. This process may have mounts of its own from here on.
pub fn send<W: Write>(layers: Option<&Layers>, to: &mut ItemWriter<W>) -> Result<()> {
    let root = bare_root().map_err(|error| Error::System { doing: "open", path: "/".into(), error })?;
    let placeholders = layers.map(Placeholders::find).unwrap_or_default();
    let leave_out = |path: &[u8]| placeholders.is_made(path);
    TreeReader::new(to, is_for_others).leaving_out(&leave_out).below(root.as_fd(), b"")
}

/// The root once more, with nothing mounted in it.
fn bare_root() -> std::result::Result<OwnedFd, Errno> {
    match open_tree(CWD, "/", OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC) {
        // Before Linux 5.2.
        Err(Errno::NOSYS) => mounted_root(),
        root => root,
    }
}

fn mounted_root() -> std::result::Result<OwnedFd, Errno> {
    // SAFETY: this process has one thread, and no descriptor table is shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    mount_bind("/", PLACE)?;
    open(PLACE, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}
