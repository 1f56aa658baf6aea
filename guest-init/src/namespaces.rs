//! Making processes in the machine's own namespaces and cgroup.

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, unmount};
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::cgroup::{CGROUPS, Cgroup};
use crate::errno;
use crate::mounts::mount_on;

/// CLONE_INTO_CGROUP of linux/sched.h, which only clone3(2) takes.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The namespaces that the machine's process leads, for others to join it.
pub struct Namespaces {
    own_pids: OwnedFd,
    pids: OwnedFd,
    mounts: OwnedFd,
    /// Not in a kernel without cgroups.
    cgroups: Option<OwnedFd>,
}

/// What a fork has become.
pub enum Fork {
    /// With what has come of joining the cgroup, where it had to do so itself.
    Child(Result<(), Errno>),
    Parent(Pid),
}

/// clone_args of linux/sched.h, up to what this program uses.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks the first process of a PID and a mount namespace of its own, in `cgroup`.
pub fn fork_first(cgroup: Option<&Cgroup>) -> Result<Fork, Errno> {
    fork((libc::CLONE_NEWPID | libc::CLONE_NEWNS) as u64, cgroup)
}

/// Forks a process in `cgroup`, and in the namespaces of this one.
pub fn fork_plain(cgroup: Option<&Cgroup>) -> Result<Fork, Errno> {
    fork(0, cgroup)
}

/// Forks with the namespaces of `flags`. A kernel that cannot make a process in a cgroup (before 5.7)
/// has it join from within, at the price of waiting for all processors.
fn fork(flags: u64, cgroup: Option<&Cgroup>) -> Result<Fork, Errno> {
    if let Some(cgroup) = cgroup {
        match clone3(flags | CLONE_INTO_CGROUP, cgroup.as_fd().as_raw_fd() as u64) {
            Err(Errno::NOSYS | Errno::INVAL | Errno::TOOBIG) => {}
            forked => return forked,
        }
    }
    let forked = match clone3(flags, 0) {
        Err(Errno::NOSYS) => clone(flags),
        forked => forked,
    }?;
    Ok(match (forked, cgroup) {
        (Fork::Child(_), Some(cgroup)) => Fork::Child(cgroup.join()),
        (forked, _) => forked,
    })
}

fn clone3(flags: u64, cgroup: u64) -> Result<Fork, Errno> {
    let arguments = CloneArguments { flags, cgroup, exit_signal: libc::SIGCHLD as u64, ..Default::default() };
    // SAFETY: the kernel reads `arguments`, whose size it is told. Without CLONE_VM this is a fork: the
    // child has a copy of this address space and goes on from here. guest-init has one thread, so no
    // lock is held by one that is gone.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
    forked(pid)
}

fn clone(flags: u64) -> Result<Fork, Errno> {
    let none: libc::c_long = 0;
    // SAFETY: as for clone3.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags as libc::c_long | libc::c_long::from(libc::SIGCHLD),
            none,
            none,
            none,
            none,
        )
    };
    forked(pid)
}

fn forked(pid: libc::c_long) -> Result<Fork, Errno> {
    match i32::try_from(pid).ok().filter(|pid| *pid >= 0) {
        Some(0) => Ok(Fork::Child(Ok(()))),
        Some(pid) => Pid::from_raw(pid).map(Fork::Parent).ok_or(Errno::INVAL),
        None => Err(errno::last()),
    }
}

/// In the first process of the machine: /proc and the cgroups as it is to see them.
pub fn settle(in_cgroup: bool) -> Result<(), Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    unmount("/proc", UnmountFlags::DETACH)?;
    mount_on("proc", "/proc", "proc", flags, "")?;
    if in_cgroup {
        // SAFETY: a cgroup namespace has nothing to do with memory or descriptors.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) }?;
        unmount(CGROUPS, UnmountFlags::DETACH)?;
        mount_on("cgroup2", CGROUPS, "cgroup2", flags, "")?;
    }
    Ok(())
}

impl Namespaces {
    /// Those of the process `pid`.
    pub fn of(pid: Pid) -> Result<Namespaces, Errno> {
        let process = ["/proc/", &pid.as_raw_nonzero().to_string(), "/ns/"].concat();
        Ok(Namespaces {
            own_pids: namespace("/proc/self/ns/pid")?,
            pids: namespace(&[&process, "pid"].concat())?,
            mounts: namespace(&[&process, "mnt"].concat())?,
            cgroups: namespace(&[&process, "cgroup"].concat()).ok(),
        })
    }

    /// Forks a process that is in the PID namespace and the cgroup, and joins the others with
    /// [`Namespaces::join`].
    pub fn fork(&self, cgroup: Option<&Cgroup>) -> Result<Fork, Errno> {
        move_into_link_name_space(self.pids.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
        let forked = fork(0, cgroup);
        if !matches!(forked, Ok(Fork::Child(_))) {
            // It is about children that are yet to come; guest-init's own number never changes.
            move_into_link_name_space(self.own_pids.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
        }
        forked
    }

    /// In the child: joins the mounts (with their root as the working directory) and the cgroups.
    pub fn join(&self) -> Result<(), Errno> {
        if let Some(cgroups) = &self.cgroups {
            move_into_link_name_space(cgroups.as_fd(), Some(LinkNameSpaceType::ControlGroup))?;
        }
        move_into_link_name_space(self.mounts.as_fd(), Some(LinkNameSpaceType::Mount))
    }
}

fn namespace(path: &str) -> Result<OwnedFd, Errno> {
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
