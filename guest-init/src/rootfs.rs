//! The root file system of a machine: the image's disk below, a writable layer above.

use guest_protocol::{Machine, RootfsDevice, RootfsFormat, Upper};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::device;
use crate::fault::{Fault, OrFault};
use crate::log;
use crate::modules_disk::Place;
use crate::mounts::mount_on;
use crate::overlay::{self, Layers};
use crate::upper_disk;

/// Where the bootfs keeps the image's own file system.
const LOWER: &str = "/lower";

/// Puts the merged root on [`overlay::MERGED`].
pub fn assemble(machine: &Machine) -> Result<Layers, Fault> {
    mount_image(machine.rootfs, machine.rootfs_format)?;
    match machine.upper {
        Upper::Memory { limit } => overlay::mount_memory(limit)?,
        Upper::Disk => upper_disk::mount(machine.rootfs)?,
    }
    let place = if machine.modules { Some(Place::make(LOWER)?) } else { None };
    overlay::merge(LOWER, place)
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
