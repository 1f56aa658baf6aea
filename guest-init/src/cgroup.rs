//! The cgroup that everything of the machine lives in, beside the kernel and guest-init.

use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, mkdir, open, openat};
use rustix::io::{Errno, fcntl_dupfd_cloexec, read, write};
use rustix::mount::{MountFlags, UnmountFlags, unmount};
use rustix::process::Pid;

use crate::mounts::mount_on;

/// Where guest-init sees all cgroups.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// The one of the machine's processes.
pub const MACHINE: &str = "/sys/fs/cgroup/machine";

/// guest-init's own, where another program is PID 1.
pub const AGENT: &str = "/sys/fs/cgroup/vmrun";

/// A cgroup's directory.
pub struct Cgroup {
    directory: OwnedFd,
    /// Its like among the cgroups of version 1 that are for freezing alone, on a kernel that freezes no others (before
    /// 5.2). Nobody else is shown them.
    freezer: Option<OwnedFd>,
}

impl Cgroup {
    /// Makes one; `None` where the kernel has no cgroups.
    pub fn make(path: &str) -> Option<Cgroup> {
        match mkdir(path, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(_) => return None,
        }
        let cgroup = Cgroup::open(path).ok()?;
        // What is mounted there may be anything, in an image's own hands; this file only a cgroup has.
        cgroup.file("cgroup.procs", OFlags::WRONLY).ok().map(|_| cgroup)
    }

    /// Those at the top, without `path`.
    pub fn all_but(path: &str) -> Vec<Cgroup> {
        let entries = std::fs::read_dir(CGROUPS).into_iter().flatten().flatten();
        let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let paths = directories.map(|entry| entry.path()).filter(|other| *other != *Path::new(path));
        paths.filter_map(|path| Cgroup::open(path).ok()).collect()
    }

    /// The cgroup that the process `pid` is in.
    pub fn of(pid: Pid) -> Option<Cgroup> {
        let file = ["/proc/", &pid.as_raw_nonzero().to_string(), "/cgroup"].concat();
        let lines = std::fs::read(file).ok()?;
        let path = lines.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
        Cgroup::open([CGROUPS.as_bytes(), path].concat()).ok()
    }

    pub fn open(path: impl rustix::path::Arg) -> Result<Cgroup, Errno> {
        let directory = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Cgroup { directory, freezer: None })
    }

    /// Sees that what joins it can be frozen, where that is not so by itself and the kernel has a way. `place` is a
    /// directory that something is mounted on for a moment.
    pub fn make_freezable(&mut self, place: &str, name: &str) {
        if let Err(Errno::NOENT) = self.file("cgroup.freeze", OFlags::PATH) {
            self.freezer = make_freezer(place, name).ok();
        }
    }

    /// That of version 1 by which this one is frozen, if it is.
    pub fn freezer(&self) -> Option<Cgroup> {
        let directory = fcntl_dupfd_cloexec(self.freezer.as_ref()?, 0).ok()?;
        Some(Cgroup { directory, freezer: None })
    }

    /// The same, without its like.
    pub fn duplicate(&self) -> Option<Cgroup> {
        let directory = fcntl_dupfd_cloexec(&self.directory, 0).ok()?;
        Some(Cgroup { directory, freezer: None })
    }

    /// Lets the calling process join it, where clone(2) could not make it there.
    pub fn join(&self) -> Result<(), Errno> {
        self.join_freezer();
        self.set("cgroup.procs", "0")
    }

    /// Lets the calling process be frozen with it, and stay in the cgroup that it is in.
    pub fn join_freezer(&self) {
        if let Some(freezer) = &self.freezer {
            let _ = set_in(freezer, "cgroup.procs", "0");
        }
    }

    pub fn set(&self, file: &str, value: &str) -> Result<(), Errno> {
        set_in(&self.directory, file, value)
    }

    /// Whether what is in it stands still, or is to.
    pub fn is_frozen(&self) -> bool {
        let file = match self.file("cgroup.freeze", OFlags::RDONLY) {
            Err(Errno::NOENT) => {
                let freezer = self.freezer.as_ref().unwrap_or(&self.directory);
                file_in(freezer, "freezer.self_freezing", OFlags::RDONLY)
            }
            file => file,
        };
        let mut state = [0; 1];
        let read = file.and_then(|file| read(&file, &mut state));
        read.is_ok() && state == *b"1"
    }

    pub fn file(&self, file: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        file_in(&self.directory, file, flags)
    }
}

fn set_in(directory: &OwnedFd, file: &str, value: &str) -> Result<(), Errno> {
    write(file_in(directory, file, OFlags::WRONLY)?, value.as_bytes()).map(drop)
}

fn file_in(directory: &OwnedFd, file: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(directory, file, flags | OFlags::CLOEXEC, Mode::empty())
}

/// Makes a cgroup of the hierarchy that version 1's freezer has to itself, which is mounted nowhere afterwards.
fn make_freezer(place: &str, name: &str) -> Result<OwnedFd, Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount_on("freezer", place, "cgroup", flags, "freezer")?;
    let path = [place, "/", name].concat();
    let made = match mkdir(&path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Cgroup::open(&path).map(|cgroup| cgroup.directory),
        Err(error) => Err(error),
    };
    unmount(place, UnmountFlags::DETACH)?;
    made
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}
