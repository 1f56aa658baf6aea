//! Learning of children's ends through a descriptor, and giving a new process its signals back.

use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read};

use crate::errno;

/// Blocks SIGCHLD and returns a non-blocking descriptor that is readable while one is pending.
pub fn watch_children() -> Result<OwnedFd, Errno> {
    // SAFETY: the set is initialised by sigemptyset before it is used, and lives on this stack; the
    // descriptor that signalfd returns is checked, new, and owned by nobody else.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 {
            return Err(errno::last());
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Takes what is pending, so that the descriptor is quiet until the next child ends.
pub fn acknowledge(watch: &OwnedFd) {
    let mut info = [0; std::mem::size_of::<libc::signalfd_siginfo>()];
    while read(watch, &mut info).is_ok() {}
}

/// Fills descriptors 0 to 2 as far as they are closed, so that nothing else comes to lie there.
pub fn hold_standard_descriptors() {
    loop {
        let Ok(null) = open("/dev/null", OFlags::RDWR, Mode::empty()) else { return };
        if null.as_raw_fd() > 2 {
            return;
        }
        std::mem::forget(null);
    }
}

/// Has writing to what nobody reads be an error. Without it guest-init would end of it wherever it is not
/// PID 1, whom the kernel spares.
pub fn ignore_broken_pipes() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Undoes, in a child, what guest-init changed: an empty mask, SIGPIPE as it was.
pub fn reset() {
    // SAFETY: as above; no handler is installed.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}
