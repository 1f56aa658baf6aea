//! What the monitor gives up before the guest's first instruction.
//!
//! The guest is hostile and the monitor is what stands between it and the host. Should a guest ever take over a thread
//! of the monitor, it finds a process
//!
//! * that can gain no privileges (no_new_privs) and whose memory no other process of the user may read (not dumpable);
//! * that can open no file at all, bind or connect no TCP port and reach no process outside (Landlock);
//! * whose threads can each make only the system calls that their own work needs (seccomp).
//!
//! What was opened before stays open: the kernel and initramfs are closed by then, the disks' files and the machine's
//! sockets are what is left. [`crate::Observer`] runs within these limits too.

mod landlock;
mod seccomp;

use std::io;

pub use landlock::missing as missing_landlock;
pub use seccomp::{Filters, ThreadKind};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot give up {what}")]
    Process { what: &'static str, source: io::Error },
    #[error("cannot give up access to files")]
    Landlock(#[from] ::landlock::RulesetError),
    #[error("cannot build the system call filter")]
    Filter(#[source] seccompiler::BackendError),
    #[error("cannot give up system calls")]
    Seccomp(#[source] seccompiler::Error),
    #[error("cannot install the handler of refused system calls")]
    Handler(#[source] vmm_sys_util::errno::Error),
}

/// Gives up what a whole process gives up: from here on, no privilege can be gained and no file opened by this thread
/// and those that it starts. Returns, in words, what this host's kernel cannot take away.
pub fn lock_process() -> Result<Vec<String>, Error> {
    // SAFETY: these two operations take plain numbers and change nothing in memory.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    check(done, "privileges to be gained")?;
    // SAFETY: as above.
    let done = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    check(done, "dumps of the monitor's memory")?;
    // SAFETY: a number for the allocator, before there are other threads. With a heap a thread, glibc opens files under
    // /sys and /proc when it makes or trims one, for which a thread would be stopped.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    landlock::give_up_files()
}

fn check(done: i32, what: &'static str) -> Result<(), Error> {
    if done == 0 { Ok(()) } else { Err(Error::Process { what, source: io::Error::last_os_error() }) }
}
