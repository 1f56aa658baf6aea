//! A root that is a copy of the image, on a kernel without overlayfs.

use std::fs::File;

use file_tree::{Error, Links, Policy, TreeReader, TreeWriter};
use guest_protocol::files::{ItemReader, ItemWriter};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, open, rename, statat, syncfs};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::fault::{Fault, OrFault};
use crate::log;
use crate::overlay::{MERGED, UPPER, directory, make_bootfs_directory};

/// The copy, once it is whole. (What overlays have changed is elsewhere.)
const COPY: &str = "/upper/root";
const DRAFT: &str = "/upper/draft";

/// The copy is the image's to the last bit.
const POLICY: Policy = Policy {
    links: Links::Refused,
    owners: true,
    special_modes: true,
    devices: true,
    wanted_xattrs: |_| true,
};

/// Copies what is at `image` to the writable layer, unless an earlier start of the machine has, and shows it on
/// [`MERGED`]. Returns the copy's directory.
pub fn make(image: &str) -> Result<OwnedFd, Fault> {
    if statat(CWD, COPY, AtFlags::SYMLINK_NOFOLLOW).is_err() {
        // What is left of a copy that was not finished.
        let _ = std::fs::remove_dir_all(DRAFT);
        make_bootfs_directory(DRAFT)?;
        copy(&readable(image)?, directory(DRAFT)?)?;
        syncfs(readable(DRAFT)?).or_fault("cannot write the copy of", "the image")?;
        rename(DRAFT, COPY).or_fault("cannot rename", DRAFT)?;
    }
    make_bootfs_directory(MERGED)?;
    mount_bind(COPY, MERGED).or_fault("cannot mount", "the copy of the image")?;
    let root = directory(COPY)?;
    for layer in [image, UPPER] {
        unmount(layer, UnmountFlags::DETACH).or_fault("cannot let go of", layer)?;
    }
    Ok(root)
}

fn readable(path: &str) -> Result<OwnedFd, Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).or_fault("cannot open", path)
}

/// One process reads, another writes: the same code, and the same checks, as for files that cross to the host.
fn copy(from: &OwnedFd, to: OwnedFd) -> Result<(), Fault> {
    let failed = |why: &dyn std::fmt::Display| {
        Fault::new(["cannot copy the image to the writable layer: ", &why.to_string()].concat())
    };
    let (output, input) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(&error))?;
    // SAFETY: guest-init has one thread, so the child's copy of memory is whole; it ends by _exit.
    match unsafe { libc::fork() } {
        -1 => return Err(failed(&std::io::Error::last_os_error())),
        0 => {
            drop(output);
            let mut items = ItemWriter::new(File::from(input));
            let read = TreeReader::new(&mut items, |_| true).below(from.as_fd(), b"");
            let message = read.err().map(|error| error.to_string());
            let _ = items.end(message.as_deref().map_or(Ok(()), Err));
            // SAFETY: ends this child at once, without anything of the parent's being run or flushed.
            unsafe { libc::_exit(0) }
        }
        _ => drop(input),
    }
    let mut warn = |text: String| log::note(&text);
    let written = TreeWriter::new(to, POLICY, &mut warn).write_all(&mut ItemReader::new(File::from(output)));
    written.map_err(|error: Error| failed(&error))
}
