//! The emulated host's end of the port for connections.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};

const PORTS: &str = "/sys/class/virtio-ports";

/// How long the port may take to appear, and to learn that the other end is open.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the port of that name.
pub fn open_port(name: &str) -> Result<OwnedFd> {
    let deadline = Instant::now() + PATIENCE;
    let path = loop {
        match find(name) {
            Some(path) => break path,
            None if Instant::now() >= deadline => bail!("there is no port {name}: this is no emulated host"),
            None => thread::sleep(Duration::from_millis(2)),
        }
    };
    let port = open(&path, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("cannot open {}", path.display()))?;
    // Before the driver knows of the other end, a read would be the end.
    while is_hung_up(&port) {
        if Instant::now() >= deadline {
            bail!("nobody has the other end of {} open", path.display());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(port)
}

/// There is no udev there that would make /dev/virtio-ports.
fn find(name: &str) -> Option<PathBuf> {
    let has_name = |entry: &fs::DirEntry| {
        fs::read(entry.path().join("name")).is_ok_and(|found| found.trim_ascii() == name.as_bytes())
    };
    let entry = fs::read_dir(PORTS).ok()?.flatten().find(has_name)?;
    Some(PathBuf::from("/dev").join(entry.file_name()))
}

fn is_hung_up(port: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(port, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}
