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
    cgroups: Vec<Moving>,
    pub until: Instant,
}

/// One cgroup, and where it tells what has become of it.
struct Moving {
    cgroup: Cgroup,
    events: OwnedFd,
}

impl Freezing {
    /// Begins to freeze, or to thaw.
    pub fn begin(cgroups: Vec<Cgroup>, freeze: bool, connection: &Rc<OwnedFd>) -> Result<Freezing, String> {
        if cgroups.is_empty() {
            return Err("the machine's kernel has no cgroups, by which processes are frozen".into());
        }
        let mut freezing = Freezing {
            connection: connection.clone(),
            freeze,
            cgroups: Vec::new(),
            until: Instant::now() + PATIENCE,
        };
        for cgroup in cgroups {
            match Moving::begin(cgroup, freeze) {
                Ok(moving) => freezing.cgroups.push(moving),
                Err(message) => {
                    freezing.give_up();
                    return Err(message);
                }
            }
        }
        Ok(freezing)
    }

    pub fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.cgroups.iter().map(|moving| (moving.events.as_fd(), PollFlags::PRI))
    }

    /// What is to be told, once it is known.
    pub fn outcome(&self) -> Option<Result<(), String>> {
        if self.cgroups.iter().all(|moving| moving.is_done(self.freeze)) {
            Some(Ok(()))
        } else if Instant::now() >= self.until {
            Some(Err(String::from("not all of the machine's processes stood still within 10 s")))
        } else {
            None
        }
    }

    /// Lets go on what has stood still in vain.
    pub fn give_up(&self) {
        for moving in self.cgroups.iter().filter(|_| self.freeze) {
            let _ = moving.cgroup.set("cgroup.freeze", "0");
        }
    }
}

impl Moving {
    fn begin(cgroup: Cgroup, freeze: bool) -> Result<Moving, String> {
        cgroup.set("cgroup.freeze", if freeze { "1" } else { "0" }).map_err(|error| match error {
            Errno::NOENT => "the machine's kernel cannot freeze processes: Linux 5.2 and later can".into(),
            error => ["cannot freeze the machine's processes: ", &errno::in_words(&error)].concat(),
        })?;
        let events = cgroup
            .file("cgroup.events", OFlags::RDONLY)
            .map_err(|error| ["cannot read cgroup.events: ", &errno::in_words(&error)].concat())?;
        Ok(Moving { cgroup, events })
    }

    fn is_done(&self, freeze: bool) -> bool {
        let mut content = [0; 256];
        // One that is gone meanwhile has nobody in it.
        let Ok(count) = pread(&self.events, &mut content[..], 0) else { return true };
        let wanted = if freeze { &b"frozen 1"[..] } else { b"frozen 0" };
        content[..count].split(|byte| *byte == b'\n').any(|line| line == wanted)
    }
}
