//! What a Linux system expects under its root: /proc, /sys, /dev and their like, as in a Docker
//! container, except that the devices are the machine's real ones.

use rustix::fs::{AtFlags, CWD, symlink, unlinkat};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::fault::{Fault, OrFault};
use crate::mounts::{mount_on, mount_point};

struct SystemMount {
    kind: &'static str,
    target: &'static str,
    flags: MountFlags,
    options: &'static str,
    /// A kernel can be built without it, or not know its options (`nsdelegate`: before 4.13), and an image does
    /// without.
    optional: bool,
}

const QUIET: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

const fn needed(
    kind: &'static str,
    target: &'static str,
    flags: MountFlags,
    options: &'static str,
) -> SystemMount {
    SystemMount { kind, target, flags, options, optional: false }
}

const fn optional(
    kind: &'static str,
    target: &'static str,
    flags: MountFlags,
    options: &'static str,
) -> SystemMount {
    SystemMount { kind, target, flags, options, optional: true }
}

const NOSUID: MountFlags = MountFlags::NOSUID;
const PTY_OPTIONS: &str = "newinstance,gid=5,mode=620,ptmxmode=666";

/// A cgroup namespace's root is not for those in it to change, but for how they divide it: the machine's limits stay.
const CGROUP_OPTIONS: &str = "nsdelegate";

const PROC: SystemMount = needed("proc", "/proc", QUIET, "");

/// All others.
const SYSTEM_MOUNTS: [SystemMount; 6] = [
    needed("sysfs", "/sys", QUIET, ""),
    optional("cgroup2", "/sys/fs/cgroup", QUIET, CGROUP_OPTIONS),
    needed("devtmpfs", "/dev", NOSUID, "mode=755"),
    needed("devpts", "/dev/pts", NOSUID.union(MountFlags::NOEXEC), PTY_OPTIONS),
    needed("tmpfs", "/dev/shm", NOSUID.union(MountFlags::NODEV), "mode=1777"),
    optional("mqueue", "/dev/mqueue", QUIET, ""),
];

/// Links of /dev that programs expect; the kernel makes none of them.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
];

/// Mounts /proc, the first of them.
pub fn mount_proc() -> Result<(), Fault> {
    mount_system(&PROC, "")
}

/// Mounts all others, /dev/shm with `shm_size` bytes, else the kernel's default, half of the memory.
/// Mount points that the image lacks are made.
pub fn mount_others(shm_size: Option<u64>) -> Result<(), Fault> {
    for system in &SYSTEM_MOUNTS {
        let size = shm_size.filter(|_| system.target == "/dev/shm");
        let size = size.map(|bytes| [",size=", &bytes.to_string()].concat()).unwrap_or_default();
        match mount_system(system, &size) {
            Err(_) if system.optional => {}
            outcome => outcome?,
        }
    }
    // The kernel's own node opens the same file system, but has no reader in a container's habits.
    let _ = unlinkat(CWD, "/dev/ptmx", AtFlags::empty());
    for (target, link) in DEVICE_LINKS {
        match symlink(target, link) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).or_fault("cannot make the link", link),
        }
    }
    Ok(())
}

/// Mounts a fresh /run over an image's that is empty. What an image brings there (a directory for its
/// server's socket, say, with its owner) stays to be used, as in Docker.
pub fn mount_run() -> Result<(), Fault> {
    if mount_point("/run", 0o755).is_err() {
        // A link to wherever the image wants it.
        return Ok(());
    }
    let mut entries = std::fs::read_dir("/run").or_fault("cannot read the directory", "/run")?;
    if entries.next().is_none() {
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount_on("tmpfs", "/run", "tmpfs", flags, "mode=755").or_fault("cannot mount", "/run")?;
    }
    Ok(())
}

fn mount_system(system: &SystemMount, more: &str) -> Result<(), Fault> {
    mount_point(system.target, 0o755)?;
    let options = [system.options, more].concat();
    let mount = |options| mount_on(system.kind, system.target, system.kind, system.flags, options);
    match mount(&options) {
        Err(Errno::INVAL) if system.optional => mount(""),
        mounted => mounted,
    }
    .or_fault("cannot mount", system.target)
}
