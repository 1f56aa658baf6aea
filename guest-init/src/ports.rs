//! virtio-serial ports, told apart by their names: the streams of an emulated host, and a machine's channel where
//! there is no vsock.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use guest_protocol::{Hello, Process, Stream, port};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::device;
use crate::fault::{Fault, OrFault};

const PORTS: &str = "/sys/class/virtio-ports";

/// How long a port may take to learn that the host has it open.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens every port that this process's streams go through.
pub fn open_all(process: Option<&Process>) -> Result<Vec<(Hello, Rc<OwnedFd>)>, Fault> {
    let mut ports = Vec::new();
    for (hello, name) in wanted(process) {
        ports.push((hello, Rc::new(open_named(name)?)));
    }
    Ok(ports)
}

/// Opens the port of that name, once it is there.
pub fn open_named(name: &str) -> Result<OwnedFd, Fault> {
    let path = device::wait_for(&["the port ", name].concat(), || find(name))?;
    open_port(&path).or_fault("cannot open the port", name)
}

/// Whether there is a port of that name by now.
pub fn has(name: &str) -> bool {
    find(name).is_some()
}

/// Opens the control port, if there is one by now.
pub fn open_control() -> Option<(Hello, Rc<OwnedFd>)> {
    let port = open_port(&find(port::CONTROL)?).ok()?;
    Some((Hello::Control, Rc::new(port)))
}

fn open_port(path: &Path) -> Result<OwnedFd, Errno> {
    let port = open(path, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    await_host(&port);
    Ok(port)
}

fn wanted(process: Option<&Process>) -> Vec<(Hello, &'static str)> {
    let mut wanted = vec![(Hello::Control, port::CONTROL)];
    let Some(process) = process else { return wanted };
    if process.terminal.is_some() {
        wanted.push((Hello::Stream(Stream::Terminal), port::TERMINAL));
    } else {
        if process.stdin {
            wanted.push((Hello::Stream(Stream::Stdin), port::STDIN));
        }
        wanted.push((Hello::Stream(Stream::Stdout), port::STDOUT));
        wanted.push((Hello::Stream(Stream::Stderr), port::STDERR));
    }
    wanted
}

/// The device of the port `name`. There is no udev here that would make /dev/virtio-ports.
fn find(name: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(PORTS).ok()? {
        let entry = entry.ok()?;
        let found = fs::read(entry.path().join("name")).unwrap_or_default();
        if found.trim_ascii() == name.as_bytes() {
            return Some(PathBuf::from("/dev").join(entry.file_name()));
        }
    }
    None
}

/// Waits until the driver knows that the host has its end open: before, a read would be the end.
fn await_host(port: &OwnedFd) {
    let deadline = Instant::now() + PATIENCE;
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    while Instant::now() < deadline {
        let mut fds = [PollFd::new(port, PollFlags::IN)];
        let _ = poll(&mut fds, Some(&now));
        if !fds[0].revents().contains(PollFlags::HUP) {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
