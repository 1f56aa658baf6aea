//! The kernel's modules in the machine: `/lib/modules/VERSION` on a disk of its own, which the host makes once for
//! each kernel and all machines share; and the kernel's own requests for them, answered by guest-init (`modprobe`).

mod nodes;
mod place;

use guest_protocol::{Machine, Root, RootfsDevice, Upper};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_remount, move_mount, open_tree,
};
use rustix::system::uname;

use crate::fault::{Fault, OrFault};
use crate::mounts::make_directories;
use crate::{device, errno, log, settings};

pub use place::Place;

/// This program in the bootfs.
const PROGRAM: &str = "/init";

/// An empty file on the disk, over which the program is mounted.
const MODPROBE: &str = "/modprobe";

/// What is needed of the bootfs, as long as that is the root: a mount of this program, attached nowhere yet.
pub fn program() -> Result<OwnedFd, Fault> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, PROGRAM, flags).or_fault("cannot open", PROGRAM)
}

/// Mounts the disk in the root that guest-init has now, with `program` on it as the modprobe that the kernel is to run,
/// and makes the device nodes whose first use loads a module. An image in which there is no place for it goes without.
pub fn attach(machine: &Machine, program: &OwnedFd) -> Result<(), Fault> {
    let target = ["/lib/modules/", &version()].concat();
    let modprobe = [&target, MODPROBE].concat();
    let disk = mount(device_of(machine))?;
    if machine.root == Root::Copied {
        let _ = make_directories(target.as_bytes());
    }
    let read_only = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    let attached = attach_one(&disk, &target, OFlags::DIRECTORY)
        .and_then(|()| attach_one(program, &modprobe, OFlags::empty()))
        .and_then(|()| mount_remount(&modprobe, read_only, ""));
    if let Err(error) = attached {
        log::note(&["the image has no place for ", &target, ": ", &errno::in_words(&error)].concat());
        return Ok(());
    }
    nodes::make(&disk);
    settings::set_sysctl("kernel.modprobe", &modprobe).unwrap_or_else(|fault| log::note(&fault.to_string()));
    Ok(())
}

/// The modules disk is the last.
fn device_of(machine: &Machine) -> &'static str {
    let before = [machine.rootfs == RootfsDevice::Block, matches!(machine.upper, Upper::Disk)];
    ["/dev/vda", "/dev/vdb", "/dev/vdc"][before.into_iter().filter(|is_disk| *is_disk).count()]
}

fn version() -> String {
    uname().release().to_string_lossy().into_owned()
}

/// Mounts it nowhere yet.
fn mount(path: &str) -> Result<OwnedFd, Fault> {
    device::wait_for(path, || open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok())?;
    let mounted = || {
        // It is ext4 where, and only where, the kernel has no EROFS.
        let disk = match fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC) {
            Err(Errno::NODEV) => fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?,
            disk => disk?,
        };
        fsconfig_set_string(&disk, "source", path)?;
        fsconfig_set_flag(&disk, "ro")?;
        fsconfig_create(&disk)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV;
        fsmount(&disk, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    mounted().or_fault("cannot mount the kernel's modules", path)
}

fn attach_one(mount: &OwnedFd, target: &str, kind: OFlags) -> Result<(), Errno> {
    let place = open(target, OFlags::PATH | OFlags::CLOEXEC | kind, Mode::empty())?;
    let both_open = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", &place, "", both_open)
}
