//! The wall between a process without CAP_SYS_ADMIN and the kernel, as far as it is not the capability itself.
//!
//! The kernel runs programs with all of its rights (modprobe, /sbin/request-key, and others), by paths that it looks up
//! in PID 1's root: in the image, whose author, or whose processes, decide what is there. And root's files in /proc,
//! /sys and /dev change the kernel for whoever is root, with capabilities or without, which a setuid program of the
//! image is enough for. A process with the capability owns the kernel anyway, and has all of it as it is.

use guest_protocol::{Init, Process};
use rustix::fs::{AtFlags, CWD, unlinkat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_bind, mount_remount};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::fault::{Fault, OrFault};

/// CAP_SYS_ADMIN of linux/capability.h.
const SYS_ADMIN: u32 = 21;

/// What Docker's processes cannot write, either.
const SETTINGS: [&str; 5] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"];

/// The machine's own disks, as they are called where there are most.
const DISKS: [&str; 4] = ["/dev/pmem0", "/dev/vda", "/dev/vdb", "/dev/vdc"];

const QUIET: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Whether the machine is to have one. An image's own init has what guest-init has.
pub fn is_wanted(main: Option<&Process>, init: Init) -> bool {
    main.is_some_and(is_behind) && init == Init::None
}

fn is_behind(process: &Process) -> bool {
    process.dropped_capabilities & (1 << SYS_ADMIN) != 0
}

/// Leaves the kernel's own threads in the bootfs when this process changes its root, which it has shared with them: the
/// programs that they run are looked up there, where the image has nothing.
pub fn leave_the_kernel_behind() -> Result<(), Fault> {
    // SAFETY: root and working directory have nothing to do with memory or descriptors.
    unsafe { unshare_unsafe(UnshareFlags::FS) }.or_fault("cannot part from", "the kernel's threads")
}

/// Takes the nodes of the machine's disks away, once all are mounted: what is written to a disk past the file system on
/// it is the kernel's to believe.
pub fn hide_disks() {
    for disk in DISKS {
        let _ = unlinkat(CWD, disk, AtFlags::empty());
    }
}

/// In the mounts of the machine's process: lets nobody change the kernel by what it shows of itself.
pub fn close(process: &Process) -> Result<(), Errno> {
    if !is_behind(process) {
        return Ok(());
    }
    let read_only = MountFlags::BIND | MountFlags::RDONLY | QUIET;
    for path in SETTINGS {
        match mount_bind(path, path) {
            // Not every kernel has all of them.
            Err(Errno::NOENT) => continue,
            mounted => mounted?,
        }
        mount_remount(path, read_only, "")?;
    }
    mount_remount("/sys", read_only, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_without_the_capability_is_walled_in() {
        let without = |dropped_capabilities| Process { dropped_capabilities, ..Process::default() };
        assert!(is_wanted(Some(&without(u64::MAX)), Init::None));
        assert!(is_wanted(Some(&without(1 << 21)), Init::None));
        assert!(!is_wanted(Some(&without(!(1 << 21))), Init::None));
        assert!(!is_wanted(Some(&without(u64::MAX)), Init::Image) && !is_wanted(None, Init::None));
    }
}
