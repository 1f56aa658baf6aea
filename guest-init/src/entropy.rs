//! Giving the kernel's random pool the host's seed.

use std::os::fd::AsRawFd;

use rustix::fs::{Mode, OFlags, open};

use crate::fault::{Fault, OrFault};

/// `struct rand_pool_info` of <linux/random.h> with a buffer of the seed's size.
#[repr(C)]
struct PoolInfo {
    entropy_count: libc::c_int,
    buf_size: libc::c_int,
    buf: [u8; 32],
}

/// `RNDADDENTROPY`: `_IOW('R', 0x03, int[2])`.
const RNDADDENTROPY: libc::Ioctl = 0x4008_5203;

/// Mixes `seed` into the pool and credits every bit of it.
pub fn credit(seed: &[u8; 32]) -> Result<(), Fault> {
    const DEVICE: &str = "/dev/urandom";
    let device =
        open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).or_fault("cannot open", DEVICE)?;
    let info = PoolInfo { entropy_count: 256, buf_size: 32, buf: *seed };
    // SAFETY: RNDADDENTROPY reads the two counts and then buf_size bytes, all of them inside `info`.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), RNDADDENTROPY, &raw const info) };
    if result < 0 {
        return Err(std::io::Error::last_os_error()).or_fault("cannot add entropy to", DEVICE);
    }
    Ok(())
}
