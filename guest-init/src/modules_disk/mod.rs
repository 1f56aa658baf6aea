//! The kernel's modules in the machine: `/lib/modules/VERSION` on a disk of its own, which the host makes once for
//! each kernel and all machines share; and the kernel's own requests for them, answered by guest-init (`modprobe`).

mod nodes;
mod place;

use guest_protocol::{Machine, RootfsDevice, Upper};
use rustix::fd::{AsRawFd, OwnedFd, RawFd};
use rustix::fs::{CWD, Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use rustix::process::Pid;
use rustix::system::uname;

use crate::fault::{Fault, OrFault};
use crate::{device, errno, log, settings};

pub use place::Place;

/// The number of the descriptor by which a guest-init holds the disk's directory: what the kernel runs as its
/// modprobe can be told nothing, and finds it there. Beyond all that are open when it is made, and within the first
/// 64, for which a process has room anyway.
pub const DIRECTORY: RawFd = 63;

/// Where the kernel keeps the path of its modprobe.
const MODPROBE: &str = "kernel.modprobe";

/// Mounts the disk in the root that guest-init has now, makes the device nodes whose first use loads a module, and
/// has the kernel ask guest-init for modules.
pub fn attach(machine: &Machine) -> Result<(), Fault> {
    let disk = mount(device_of(machine))?;
    let target = ["/lib/modules/", &version()].concat();
    let held = match move_to(&disk, &target) {
        // A copy: the image may unmount its own.
        Ok(()) => open_tree(CWD, &target, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
            .or_fault("cannot open", &target)?,
        Err(error) => {
            log::note(&["the image has no place for ", &target, ": ", &errno::in_words(&error)].concat());
            disk
        }
    };
    nodes::make(&held);
    hold(&held).or_fault("cannot hold", "the modules disk")?;
    if let Err(fault) = answer_requests_as(Pid::INIT) {
        log::note(&fault.to_string());
    }
    Ok(())
}

/// Has the kernel ask the guest-init that is `pid`, if it asks one.
pub fn follow(pid: Pid) {
    let asks = std::fs::read("/proc/sys/kernel/modprobe").is_ok_and(|path| path.starts_with(b"/proc/"));
    if asks && let Err(fault) = answer_requests_as(pid) {
        log::note(&fault.to_string());
    }
}

fn answer_requests_as(pid: Pid) -> Result<(), Fault> {
    // Through /proc: it is there whatever the image has at its paths, and does with them.
    settings::set_sysctl(MODPROBE, &["/proc/", &pid.as_raw_nonzero().to_string(), "/exe"].concat())
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
        let erofs = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&erofs, "source", path)?;
        fsconfig_set_flag(&erofs, "ro")?;
        fsconfig_create(&erofs)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV;
        fsmount(&erofs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    mounted().or_fault("cannot mount the kernel's modules", path)
}

fn move_to(disk: &OwnedFd, target: &str) -> Result<(), Errno> {
    let place = open(target, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let both_open = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(disk, "", &place, "", both_open)
}

/// Keeps `disk` at [`DIRECTORY`] for as long as this program runs.
fn hold(disk: &OwnedFd) -> Result<(), Errno> {
    let held = rustix::io::fcntl_dupfd_cloexec(disk, DIRECTORY)?;
    if held.as_raw_fd() != DIRECTORY {
        return Err(Errno::MFILE);
    }
    std::mem::forget(held);
    Ok(())
}
