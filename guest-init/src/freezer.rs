//! Freezing and thawing all that runs in the machine's cgroup.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::{Errno, pread};

use crate::cgroup::Cgroup;
use crate::errno;

/// How long processes may take to stand still: one that waits for a disk does not.
const PATIENCE: Duration = Duration::from_secs(10);

/// A freezing or thawing that is under way.
pub struct Freezing {
    /// Who is to be told.
    pub connection: Rc<OwnedFd>,
    freeze: bool,
    events: OwnedFd,
    pub until: Instant,
}

impl Freezing {
    /// Begins to freeze, or to thaw.
    pub fn begin(
        cgroup: Option<&Cgroup>,
        freeze: bool,
        connection: &Rc<OwnedFd>,
    ) -> Result<Freezing, String> {
        let cgroup = cgroup.ok_or("the machine's kernel has no cgroups, by which processes are frozen")?;
        cgroup.set("cgroup.freeze", if freeze { "1" } else { "0" }).map_err(|error| match error {
            Errno::NOENT => "the machine's kernel cannot freeze processes: Linux 5.2 and later can".into(),
            error => ["cannot freeze the machine's processes: ", &errno::in_words(&error)].concat(),
        })?;
        let events = cgroup
            .file("cgroup.events", OFlags::RDONLY)
            .map_err(|error| ["cannot read cgroup.events: ", &errno::in_words(&error)].concat())?;
        Ok(Freezing { connection: connection.clone(), freeze, events, until: Instant::now() + PATIENCE })
    }

    pub fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        (self.events.as_fd(), PollFlags::PRI)
    }

    /// What is to be told, once it is known.
    pub fn outcome(&self) -> Option<Result<(), String>> {
        if self.is_done() {
            Some(Ok(()))
        } else if Instant::now() >= self.until {
            Some(Err(String::from("not all of the machine's processes stood still within 10 s")))
        } else {
            None
        }
    }

    /// Lets go on what has stood still in vain.
    pub fn give_up(&self, cgroup: Option<&Cgroup>) {
        if let Some(cgroup) = cgroup.filter(|_| self.freeze) {
            let _ = cgroup.set("cgroup.freeze", "0");
        }
    }

    fn is_done(&self) -> bool {
        let mut content = [0; 256];
        let Ok((content, _)) = pread(&self.events, &mut content[..], 0).map(|count| content.split_at(count))
        else {
            return false;
        };
        let wanted = if self.freeze { &b"frozen 1"[..] } else { b"frozen 0" };
        content.split(|byte| *byte == b'\n').any(|line| line == wanted)
    }
}
