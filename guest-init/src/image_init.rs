//! Machines whose init is the image's own: guest-init hands it PID 1 and goes on as an ordinary process,
//! the *agent*.
//!
//! The agent has mounts of its own, so that unmounting everything leaves it what it needs, and a cgroup
//! that no other is told of, so that everything else can be frozen. Its name begins with `@`, by which
//! systemd knows whom not to kill before the power goes off.

use std::ffi::{CString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use guest_protocol::Process;
use rustix::io::Errno;
use rustix::process::setsid;
use rustix::thread::UnshareFlags;

use crate::privileges::adjust_oom_score;

/// Of systemd: SIGRTMIN+3 halts, SIGRTMIN+4 powers off. A machine that has halted would never end.
const HALT: u8 = 37;
const POWER_OFF: u8 = 38;

const TERMINATE: u8 = libc::SIGTERM as u8;

/// The memory in which the kernel shows this process's name.
static NAME: AtomicPtr<c_char> = AtomicPtr::new(std::ptr::null_mut());

/// The score of whom the kernel never ends for want of memory, which it spares its PID 1 by itself.
const SPARED: i16 = -1000;

static IS_AGENT: AtomicBool = AtomicBool::new(false);

/// What is to be done about a signal for the image's init.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// Deliver this one.
    Signal(u8),
    /// Have the system shut down in whatever way it knows.
    ShutDown,
    /// End the machine at once: no signal kills PID 1.
    End,
}

/// Takes the arguments as the kernel gave them to this program.
pub fn remember_name(name: *mut c_char) {
    NAME.store(name, Ordering::Relaxed);
}

/// In the agent, which has just been forked from PID 1.
pub fn become_agent() -> Result<(), Errno> {
    let name = NAME.load(Ordering::Relaxed);
    if !name.is_null() {
        // SAFETY: it is the first byte of this program's first argument, which the kernel put on the
        // stack for as long as the program lives, and which nobody else reads or writes.
        unsafe { name.write(b'@' as c_char) };
    }
    IS_AGENT.store(true, Ordering::Relaxed);
    // Without it, a machine that is short of memory would be one that nobody reaches.
    let _ = adjust_oom_score(SPARED);
    setsid()?;
    // SAFETY: this program has one thread, and no descriptor table is shared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
}

/// In a child, which is as good as any other process when memory is short.
pub fn be_spared_no_more() {
    if IS_AGENT.load(Ordering::Relaxed) {
        let _ = adjust_oom_score(0);
    }
}

/// Whether the first of `candidates` that exists is systemd, which makes and moves cgroups itself.
pub fn is_systemd(candidates: &[CString]) -> bool {
    let found = candidates.iter().find_map(|candidate| {
        Path::new(std::ffi::OsStr::from_bytes(candidate.to_bytes())).canonicalize().ok()
    });
    found.is_some_and(|path| path.file_name().is_some_and(|name| name == "systemd"))
}

/// What `number` means to the init that runs.
pub fn asked(number: u8) -> Asked {
    let name = std::fs::read("/proc/1/comm").unwrap_or_default();
    translate(number, name.trim_ascii() == b"systemd")
}

fn translate(number: u8, is_systemd: bool) -> Asked {
    match (number, is_systemd) {
        (9, _) => Asked::End,
        (TERMINATE | HALT, true) => Asked::Signal(POWER_OFF),
        (TERMINATE, false) => Asked::ShutDown,
        _ => Asked::Signal(number),
    }
}

/// What shuts down a system whose init is not known: its own program for that.
pub fn shut_down() -> Process {
    Process { args: vec![b"poweroff".to_vec()], ..Process::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_asked_for_in_each_inits_own_way() {
        assert_eq!(translate(TERMINATE, true), Asked::Signal(POWER_OFF));
        assert_eq!(translate(HALT, true), Asked::Signal(POWER_OFF));
        assert_eq!(translate(TERMINATE, false), Asked::ShutDown);
        assert_eq!(translate(1, true), Asked::Signal(1));
        assert_eq!(translate(9, false), Asked::End);
    }

    #[test]
    fn systemd_is_known_behind_its_links() {
        let directory = std::env::temp_dir().join(format!("vmrun-init-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("systemd"), "").unwrap();
        let _ = std::os::unix::fs::symlink("systemd", directory.join("init"));
        let path =
            |name: &str| CString::new(directory.join(name).into_os_string().into_encoded_bytes()).unwrap();
        assert!(is_systemd(&[path("nothing"), path("init")]));
        assert!(!is_systemd(&[path("nothing")]));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
