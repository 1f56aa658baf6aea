//! The root file system of a machine: the image's disk below, a writable layer above, as one overlay. Where the
//! kernel has none, the root is a copy of the image on the writable layer, or the image alone, read-only.

use guest_protocol::{Machine, Root, RootfsDevice, RootfsFormat, Upper};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, open, statat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_move};

use crate::copied_root;
use crate::device;
use crate::fault::{Fault, OrFault};
use crate::log;
use crate::modules_disk::Place;
use crate::mounts::mount_on;
use crate::overlay::{self, Layers};
use crate::upper_disk;

/// Where the bootfs keeps the image's own file system.
const LOWER: &str = "/lower";

/// What a root is made of, beside the mount that shows it.
pub enum RootParts {
    Overlay(Layers),
    /// A copy of the image, below this directory of the writable layer.
    Copy(OwnedFd),
    /// The image itself.
    Image,
}

impl RootParts {
    /// The layers, where it is known which changes are the machine's.
    pub fn layers(&self) -> Option<&Layers> {
        match self {
            RootParts::Overlay(layers) => Some(layers),
            _ => None,
        }
    }

    /// A directory of the writable layer, where there is one.
    pub fn writable(&self) -> Option<&OwnedFd> {
        match self {
            RootParts::Overlay(layers) => Some(&layers.upper),
            RootParts::Copy(directory) => Some(directory),
            RootParts::Image => None,
        }
    }
}

/// Puts the root on [`overlay::MERGED`].
pub fn assemble(machine: &Machine) -> Result<RootParts, Fault> {
    mount_image(machine.rootfs, machine.rootfs_format)?;
    if machine.root == Root::Plain {
        for mount_point in ["/lower/proc", "/lower/sys", "/lower/dev"] {
            statat(CWD, mount_point, AtFlags::SYMLINK_NOFOLLOW).or_fault(
                "the image cannot be the root by itself, for want of overlayfs in the kernel; go without --read-only:",
                &mount_point[LOWER.len()..],
            )?;
        }
        overlay::make_bootfs_directory(overlay::MERGED)?;
        mount_move(LOWER, overlay::MERGED).or_fault("cannot move to the root's place", LOWER)?;
        return Ok(RootParts::Image);
    }
    match machine.upper {
        Upper::Memory { limit } => overlay::mount_memory(limit)?,
        Upper::Disk => upper_disk::mount(machine.rootfs)?,
    }
    if machine.root == Root::Copied {
        return copied_root::make(LOWER).map(RootParts::Copy);
    }
    let place = if machine.modules { Some(Place::make(LOWER)?) } else { None };
    overlay::merge(LOWER, place).map(RootParts::Overlay)
}

fn mount_image(device: RootfsDevice, format: RootfsFormat) -> Result<(), Fault> {
    let path = match device {
        RootfsDevice::Pmem => "/dev/pmem0",
        RootfsDevice::Block => "/dev/vda",
    };
    // Its node is there a moment before it can be opened.
    device::wait_for(path, || open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok())?;
    overlay::make_bootfs_directory(LOWER)?;
    // ext4's older word for it, which every kernel with DAX knows.
    let (kind, dax) = match format {
        RootfsFormat::Erofs => ("erofs", "dax=always"),
        RootfsFormat::Ext4 => ("ext4", "dax"),
    };
    if device == RootfsDevice::Pmem {
        match mount_on(path, LOWER, kind, MountFlags::RDONLY, dax) {
            Ok(()) => return Ok(()),
            // EROFS learned DAX in 5.15; and a device can be without it (EOPNOTSUPP, EINVAL).
            Err(Errno::INVAL | Errno::OPNOTSUPP) => log::note("the rootfs is mounted without DAX"),
            Err(error) => return Err(error).or_fault("cannot mount the rootfs", path),
        }
    }
    mount_on(path, LOWER, kind, MountFlags::RDONLY, "").or_fault("cannot mount the rootfs", path)
}
