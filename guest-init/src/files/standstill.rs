//! The machine's processes stand still while their files are read.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::{Errno, pread};

use crate::cgroup::Cgroup;
use crate::errno::in_words;

/// How long processes may take to stand still: one that waits for a disk does not.
const PATIENCE: Duration = Duration::from_secs(10);

const STEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// They go on when this is dropped, unless they stood still before.
pub struct Standstill<'a> {
    cgroup: &'a Cgroup,
    ends: bool,
}

impl Drop for Standstill<'_> {
    fn drop(&mut self) {
        if self.ends {
            let _ = self.cgroup.set("cgroup.freeze", "0");
        }
    }
}

impl Standstill<'_> {
    /// Returns when all processes of the cgroup stand still. This process is not among them.
    pub fn begin(cgroup: &Cgroup) -> Result<Standstill<'_>, String> {
        let standstill = Standstill { cgroup, ends: !cgroup.is_frozen() };
        let events = cgroup
            .set("cgroup.freeze", "1")
            .and_then(|()| cgroup.file("cgroup.events", OFlags::RDONLY))
            .map_err(|error| match error {
                Errno::NOENT => String::from("the machine's kernel cannot freeze processes"),
                error => ["cannot freeze the machine's processes: ", &in_words(&error)].concat(),
            })?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut content = [0; 256];
            let length = pread(&events, &mut content, 0).unwrap_or(0);
            if content[..length].split(|byte| *byte == b'\n').any(|line| line == b"frozen 1") {
                return Ok(standstill);
            }
            if Instant::now() >= deadline {
                return Err(String::from("not all of the machine's processes stood still within 10 s"));
            }
            let _ = poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&STEP));
        }
    }
}
