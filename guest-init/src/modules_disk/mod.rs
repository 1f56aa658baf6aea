//! The kernel's modules in the machine: `/lib/modules/VERSION` on a disk of its own, which the host makes once for
//! each kernel and all machines share; and the kernel's own requests for them, answered by guest-init (`modprobe`).

mod nodes;
mod place;

use guest_protocol::{Machine, Root, RootfsDevice, Upper};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_bind, mount_bind_recursive, mount_remount};
use rustix::system::uname;

use crate::fault::{Fault, OrFault};
use crate::mounts::{make_directories, mount_on, name_of};
use crate::switch_root::Bootfs;
use crate::{device, errno, log, settings};

pub use place::Place;

/// This program in the bootfs.
const PROGRAM: &str = "/init";

/// An empty file on the disk, over which the program is mounted.
const MODPROBE: &str = "/modprobe";

const SHOW: &str = "cannot show the kernel its";

/// The path of the program that the kernel runs when it wants a module.
const SETTING: &str = "kernel.modprobe";

/// What is needed of the bootfs, as long as that is the root: this program, to be mounted once more.
pub fn program() -> Result<OwnedFd, Fault> {
    open(PROGRAM, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).or_fault("cannot open", PROGRAM)
}

/// Has the kernel run no modprobe: it would be the image's, or what a process without any capability has put in its
/// place, and the kernel would run it with all of them.
pub fn let_nobody_be_modprobe() {
    // A kernel without modules has no such setting.
    let _ = settings::set_sysctl(SETTING, "\n");
}

/// Mounts the disk in the root that guest-init has now, with `program` on it as the modprobe that the kernel is to run,
/// and makes the device nodes whose first use loads a module. An image in which there is no place for it goes without.
/// Returns the disk's directory.
pub fn attach(machine: &Machine, program: &OwnedFd) -> Result<Option<OwnedFd>, Fault> {
    let target = ["/lib/modules/", &version()].concat();
    let modprobe = [&target, MODPROBE].concat();
    if machine.root == Root::Copied {
        let _ = make_directories(target.as_bytes());
    }
    let directory = || open(&target, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let attached = match directory() {
        Ok(place) => {
            mount(device_of(machine), &place)?;
            mount_program(program, &modprobe).and_then(|()| directory())
        }
        Err(error) => Err(error),
    };
    let disk = match attached {
        Ok(disk) => disk,
        Err(error) => {
            log::note(&["the image has no place for ", &target, ": ", &errno::in_words(&error)].concat());
            return Ok(None);
        }
    };
    nodes::make(&disk);
    settings::set_sysctl(SETTING, &modprobe).unwrap_or_else(|fault| log::note(&fault.to_string()));
    Ok(Some(disk))
}

/// Shows the disk, with the program on it, in the bootfs under the same path: for a kernel that looks there. And the way
/// from there to the root that guest-init has, whose modprobe.d is heeded.
pub fn show_in(bootfs: &Bootfs, disk: &OwnedFd) -> Result<(), Fault> {
    let place = bootfs.make_directory(&["lib", "modules", &version()]).or_fault(SHOW, "modules")?;
    mount_bind_recursive(name_of(disk), name_of(&place)).or_fault(SHOW, "modules")?;
    // Not all of /proc: nobody is to find a second one.
    let process = bootfs.make_directory(&["proc", "1"]).or_fault(SHOW, "root")?;
    mount_bind("/proc/1", name_of(&process)).or_fault(SHOW, "root")
}

/// The modules disk is the last.
fn device_of(machine: &Machine) -> &'static str {
    let before = [machine.rootfs == RootfsDevice::Block, matches!(machine.upper, Upper::Disk)];
    ["/dev/vda", "/dev/vdb", "/dev/vdc"][before.into_iter().filter(|is_disk| *is_disk).count()]
}

fn version() -> String {
    uname().release().to_string_lossy().into_owned()
}

/// Mounts the disk on what is open as `place`.
fn mount(path: &str, place: &OwnedFd) -> Result<(), Fault> {
    device::wait_for(path, || open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok())?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    let mounted = match mount_on(path, &name_of(place), "erofs", flags, "") {
        // It is ext4 where, and only where, the kernel has no EROFS.
        Err(Errno::NODEV) => mount_on(path, &name_of(place), "ext4", flags, ""),
        mounted => mounted,
    };
    mounted.or_fault("cannot mount the kernel's modules", path)
}

fn mount_program(program: &OwnedFd, target: &str) -> Result<(), Errno> {
    mount_bind(name_of(program), target)?;
    let read_only = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount(target, read_only, "")
}
