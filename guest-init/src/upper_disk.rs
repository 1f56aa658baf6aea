//! The writable layer on a disk of the machine's own: ext4, made by the host.

use guest_protocol::RootfsDevice;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::device;
use crate::errno;
use crate::fault::{Fault, OrFault};
use crate::log;
use crate::mounts::mount_on;
use crate::overlay::{UPPER, make_bootfs_directory};

/// * `discard`: what is deleted is given back to the host, by the journal's commits.
/// * `noinit_itable`: no thread fills inode tables that nobody uses with zeroes, on the host's disk too.
/// * `errors=continue`: the host's disk may be full for a while. Whoever writes then learns of it; the
///   others go on, and so does everybody when there is room again.
const OPTIONS: &str = "discard,noinit_itable,errors=continue";

/// FIFREEZE of linux/fs.h: `_IOWR('X', 119, int)`.
const FREEZE: libc::Ioctl = 0xc004_5877_u32 as libc::Ioctl;

/// Mounts it on [`UPPER`].
pub fn mount(rootfs: RootfsDevice) -> Result<(), Fault> {
    // A machine's disks are in the order of its specification: the rootfs, where it is one, then this.
    // (Its serial number says so too, to whoever looks; asking for that takes a sysfs and a request.)
    let path = match rootfs {
        RootfsDevice::Pmem => "/dev/vda",
        RootfsDevice::Block => "/dev/vdb",
    };
    device::wait_for(path, || open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok())?;
    make_bootfs_directory(UPPER)?;
    mount_on(path, UPPER, "ext4", MountFlags::empty(), OPTIONS)
        .or_fault("cannot mount the writable layer", path)
}

/// Writes all of it to the disk and marks that as clean, as unmounting would, which an overlay in use
/// prevents. For a machine's last moment: whoever writes afterwards waits for ever.
/// `writable` is a directory of it.
pub fn finish(writable: &OwnedFd) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let frozen = openat(writable, ".", flags, Mode::empty()).and_then(|upper| freeze(&upper));
    if let Err(error) = frozen {
        log::note(&["the writable layer is not marked as clean: ", &errno::in_words(&error)].concat());
    }
}

fn freeze(directory: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: FIFREEZE takes a number that no file system looks at, and no memory.
    match unsafe { libc::ioctl(directory.as_raw_fd(), FREEZE, 0) } {
        -1 => Err(errno::last()),
        _ => Ok(()),
    }
}
