//! Grace periods of RCU, which mounts and namespaces are waited for in. A start has nobody whom hastening them could
//! disturb, and so has them hastened; what runs in the machine finds the kernel's own choice.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{pread, pwrite};

/// Whether grace periods are expedited: `1` or `0`, and a line's end.
const SWITCH: &str = "/sys/kernel/rcu_expedited";

/// As long as this lives, they are.
pub struct Hastened {
    /// None where the kernel has no such switch, or the user has set it.
    switch: Option<OwnedFd>,
}

impl Hastened {
    /// Wants /sys mounted; it is not needed afterwards.
    pub fn begin() -> Hastened {
        let switch = open(SWITCH, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok();
        let is_off = |switch: &OwnedFd| {
            let mut setting = [0];
            pread(switch, &mut setting, 0).is_ok() && setting == *b"0"
        };
        let switch = switch.filter(is_off).filter(|switch| pwrite(switch, b"1", 0).is_ok());
        Hastened { switch }
    }
}

impl Drop for Hastened {
    fn drop(&mut self) {
        if let Some(switch) = &self.switch {
            let _ = pwrite(switch, b"0", 0);
        }
    }
}
