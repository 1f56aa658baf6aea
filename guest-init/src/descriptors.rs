//! What of guest-init's a child of it has open: what it needs.
//!
//! All of it is close-on-exec. For the machine's processes that is too late: whoever looks up a path before finds it in
//! /proc/self/fd. And children that execute nothing would keep alive what others end by closing.

use rustix::fd::RawFd;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::errno;

/// As many are closed one by one, at most.
const MOST: u64 = 1 << 20;

/// In a child: closes all but descriptors 0 to 2 and `kept`. Nothing else that the child has open may be used, or
/// dropped, from here on.
pub fn close_all_but(kept: &mut [RawFd]) -> Result<(), Errno> {
    kept.sort_unstable();
    let mut first = 3;
    for descriptor in kept.iter().filter(|descriptor| **descriptor >= 3) {
        close_range(first, descriptor.saturating_sub(1))?;
        first = descriptor.saturating_add(1);
    }
    close_range(first, RawFd::MAX)
}

fn close_range(first: RawFd, last: RawFd) -> Result<(), Errno> {
    if first > last {
        return Ok(());
    }
    // SAFETY: the call takes three numbers. Those who own these descriptors do nothing with them any more, as the
    // caller of `close_all_but` sees to.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => match errno::last() {
            // Before Linux 5.9.
            Errno::NOSYS => {
                close_each(first, last);
                Ok(())
            }
            error => Err(error),
        },
    }
}

/// The limit of open files is never lowered in this program: none is above it.
fn close_each(first: RawFd, last: RawFd) {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(MOST).min(MOST);
    for descriptor in first..=last.min(limit as RawFd) {
        // SAFETY: as above.
        unsafe { libc::close(descriptor) };
    }
}

#[cfg(test)]
mod tests {
    use rustix::fd::{AsRawFd, OwnedFd};
    use rustix::fs::{Mode, OFlags, open};

    use super::*;

    /// How many others a child of this test has open after `close`, which gets the one to keep; 0 to 2 not counted.
    fn open_after(close: fn(&OwnedFd)) -> i32 {
        let file = || open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let (_before, kept, _after) = (file(), file(), file());
        let kept_number = kept.as_raw_fd();
        // SAFETY: the child makes system calls and allocates nothing: it can take no lock that another thread held.
        match unsafe { libc::fork() } {
            0 => {
                close(&kept);
                // SAFETY: F_GETFD looks at a number, and _exit ends the child at once.
                unsafe {
                    let is_open = |number| libc::fcntl(number, libc::F_GETFD) != -1;
                    let others = (3..256).filter(|number| is_open(*number) && *number != kept_number).count();
                    libc::_exit(if is_open(kept_number) { others as i32 } else { 100 });
                }
            }
            child => {
                let mut status = 0;
                // SAFETY: the kernel writes the status of a child of this process.
                assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                assert!(libc::WIFEXITED(status));
                libc::WEXITSTATUS(status)
            }
        }
    }

    #[test]
    fn all_but_one_are_closed_in_either_way() {
        assert_eq!(open_after(|kept| close_all_but(&mut [kept.as_raw_fd()]).unwrap()), 0);
        let by_steps = |kept: &OwnedFd| {
            close_each(3, kept.as_raw_fd() - 1);
            close_each(kept.as_raw_fd() + 1, RawFd::MAX);
        };
        assert_eq!(open_after(by_steps), 0);
    }
}
