//! Processes that outlive the command that starts them.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// `program WORDS…` in a session of its own, with nothing of the command's that starts it: no
/// terminal, no streams, no directory that would be kept busy.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.arg0("vmrun").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = || {
        rustix::process::setsid()?;
        Ok(())
    };
    // SAFETY: between fork and exec `start` makes one system call (setsid) and nothing else: it takes
    // no lock and allocates nothing.
    unsafe { command.pre_exec(start) };
    command
}

/// Closes what the starter's own starter left open (a lock's file, a pipe that somebody waits on).
/// For the beginning of a process, when it has opened nothing itself.
pub fn close_inherited() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let open: Vec<i32> = names.filter(|fd| *fd > 2).collect();
    for fd in open {
        // SAFETY: no object of this process owns a descriptor above 2 yet, and there is one thread. The one
        // that read the directory is closed already.
        unsafe {
            if rustix::io::fcntl_getfd(BorrowedFd::borrow_raw(fd)).is_ok() {
                rustix::io::close(fd);
            }
        }
    }
}
