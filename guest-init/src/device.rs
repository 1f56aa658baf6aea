//! Waiting for a device, which usually is there already.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

use crate::fault::{Fault, OrFault};

/// How long a device may take. On an emulated processor whose host is busy, a probe can take many seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The kernel's own broadcast group, as against udev's.
const KERNEL_GROUP: u32 = 1;

/// Returns what `find` finds, asking again at each of the kernel's device events.
pub fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> Result<T, Fault> {
    if let Some(found) = find() {
        return Ok(found);
    }
    // Listening before the second look, so that no event falls between a look and the wait.
    let events = listen().or_fault("cannot wait for", what)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = find() {
            return Ok(found);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Fault::new([what, " has not appeared in 30 s"].concat()));
        }
        // Not everything that is waited for announces itself (a name that a driver learns later):
        // hence the short pause.
        let pause = left.min(Duration::from_millis(20));
        let timeout = Timespec { tv_sec: 0, tv_nsec: pause.subsec_nanos().into() };
        let _ = poll(&mut [PollFd::new(&events, PollFlags::IN)], Some(&timeout));
        drain(&events);
    }
}

fn listen() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::KOBJECT_UEVENT))?;
    bind(&socket, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
    Ok(socket)
}

fn drain(events: &OwnedFd) {
    let mut message = [0u8; 4096];
    while recv(events, &mut message, RecvFlags::DONTWAIT).is_ok() {}
}
