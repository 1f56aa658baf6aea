//! The root of an emulated machine: this host's files over 9p, copy-on-write, with some directories
//! that are the host's own.

use std::time::{Duration, Instant};

use guest_protocol::{EmulatedHost, Share};
use rustix::fs::{Mode, OFlags, chmod, open};
use rustix::io::read;
use rustix::mount::{MountFlags, UnmountFlags, unmount};

use crate::fault::{Fault, OrFault};
use crate::log;
use crate::mounts::{make_directories, mount_on};
use crate::overlay;

const LOWER: &str = "/lower";

/// The host's files do not change underneath: what was looked up stays true.
const ROOT_OPTIONS: &str = "trans=virtio,version=9p2000.L,cache=loose,msize=1048576";

/// What the host writes is seen, and files can be mapped.
const SHARE_OPTIONS: &str = "trans=virtio,version=9p2000.L,cache=mmap,msize=1048576";

const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// How long the kernel may take to know its clock, and how often it is asked.
const CLOCK_PATIENCE: Duration = Duration::from_secs(5);
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// Waits until the kernel has measured the processor's clock, a second or two after its start. KVM takes the clock as
/// it is when it is loaded: when that changes under a machine that starts, the machine's time may stand still and then
/// jump, and what waits there waits for minutes.
pub fn settle_clock() {
    let deadline = Instant::now() + CLOCK_PATIENCE;
    let early = || std::fs::read(CLOCK).is_ok_and(|name| name.trim_ascii() == b"tsc-early");
    while early() && Instant::now() < deadline {
        std::thread::sleep(CLOCK_STEP);
    }
}

/// Puts the merged root on [`overlay::MERGED`].
pub fn assemble(host: &EmulatedHost) -> Result<(), Fault> {
    overlay::make_bootfs_directory(LOWER)?;
    mount_on(&host.root_tag, LOWER, "9p", MountFlags::RDONLY, ROOT_OPTIONS)
        .or_fault("cannot mount the host's files from", &host.root_tag)?;
    overlay::mount_memory(0)?;
    overlay::merge(LOWER, None).map(drop)
}

/// Mounts the writable shares, and lets everyone use KVM.
pub fn furnish(host: &EmulatedHost) -> Result<(), Fault> {
    for Share { tag, path, write_back } in &host.shares {
        let options = if *write_back { ROOT_OPTIONS } else { SHARE_OPTIONS };
        make_directories(path.as_bytes()).or_fault("cannot make the directory", path)?;
        mount_on(tag, path, "9p", MountFlags::empty(), options).or_fault("cannot mount the share", path)?;
    }
    if chmod("/dev/kvm", Mode::from_raw_mode(0o666)).is_err() {
        log::note("there is no /dev/kvm");
    }
    Ok(())
}

/// Lets go of the shares, so that all that was written is the host's.
pub fn unmount_shares(host: &EmulatedHost) {
    for share in host.shares.iter().rev() {
        if unmount(&share.path, UnmountFlags::empty()).is_err() {
            log::note(&["the share ", &share.path, " is in use at the end"].concat());
        }
    }
}

/// The host's own name, as its file says.
pub fn hostname() -> Option<String> {
    let file =
        open("/etc/hostname", OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut name = [0; 64];
    let length = read(&file, &mut name).ok()?;
    let name = str::from_utf8(&name[..length]).ok()?.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
