//! Writing a machine's disk back before its layer is read, so that the machine does not lose what an image
//! of it has.

use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, openat, syncfs};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::overlay::Layers;

/// A disk that takes longer is not waited for: what is read is right all the same.
const PATIENCE: Duration = Duration::from_secs(10);

const STEP: Duration = Duration::from_millis(5);

/// In a child, which may wait for a disk that never answers.
pub fn write_back(layers: &Layers) {
    // SAFETY: this process has one thread, so the child's copy of memory is whole; it makes system calls
    // and ends by _exit.
    let child = match unsafe { libc::fork() } {
        0 => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            if let Ok(upper) = openat(&layers.upper, c".", flags, Mode::empty()) {
                let _ = syncfs(&upper);
            }
            // SAFETY: as above.
            unsafe { libc::_exit(0) }
        }
        child => Pid::from_raw(child.max(0)),
    };
    let Some(child) = child else { return };
    let deadline = Instant::now() + PATIENCE;
    while let Ok(None) = waitpid(Some(child), WaitOptions::NOHANG) {
        if Instant::now() >= deadline {
            let _ = kill_process(child, Signal::KILL);
            return;
        }
        std::thread::sleep(STEP);
    }
}
