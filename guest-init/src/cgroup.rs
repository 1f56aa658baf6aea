//! The cgroup that everything of the machine lives in, beside the kernel and guest-init.

use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, mkdir, open, openat};
use rustix::io::{Errno, read, write};
use rustix::process::Pid;

/// Where guest-init sees all cgroups.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// The one of the machine's processes.
pub const MACHINE: &str = "/sys/fs/cgroup/machine";

/// guest-init's own, where another program is PID 1.
pub const AGENT: &str = "/sys/fs/cgroup/vmrun";

/// A cgroup's directory.
pub struct Cgroup(OwnedFd);

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
        open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map(Cgroup)
    }

    /// Lets the calling process join it, where clone(2) could not make it there.
    pub fn join(&self) -> Result<(), Errno> {
        self.set("cgroup.procs", "0")
    }

    pub fn set(&self, file: &str, value: &str) -> Result<(), Errno> {
        write(self.file(file, OFlags::WRONLY)?, value.as_bytes()).map(drop)
    }

    /// Whether what is in it stands still, or is to.
    pub fn is_frozen(&self) -> bool {
        let mut state = [0; 1];
        let read = self.file("cgroup.freeze", OFlags::RDONLY).and_then(|file| read(&file, &mut state));
        read.is_ok() && state == *b"1"
    }

    pub fn file(&self, file: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        openat(&self.0, file, flags | OFlags::CLOEXEC, Mode::empty())
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
