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

/// How often one is asked that does not tell by itself.
const STEP: Duration = Duration::from_millis(20);

/// A freezing or thawing that is under way.
pub struct Freezing {
    /// Who is to be told.
    pub connection: Rc<OwnedFd>,
    freeze: bool,
    cgroups: Vec<Moving>,
    until: Instant,
}

/// One cgroup, and where it tells what has become of it.
struct Moving {
    cgroup: Cgroup,
    words: &'static Words,
    events: OwnedFd,
}

/// What a cgroup is told, and what it tells; each for thawing and for freezing.
struct Words {
    file: &'static str,
    told: [&'static str; 2],
    events: &'static str,
    done: [&'static [u8]; 2],
    /// Whether it tells by itself.
    tells: bool,
}

/// Of cgroup v2, since Linux 5.2.
const UNIFIED: Words = Words {
    file: "cgroup.freeze",
    told: ["0", "1"],
    events: "cgroup.events",
    done: [b"frozen 0", b"frozen 1"],
    tells: true,
};

/// Of cgroup v1, with CONFIG_CGROUP_FREEZER.
const LEGACY: Words = Words {
    file: "freezer.state",
    told: ["THAWED", "FROZEN"],
    events: "freezer.state",
    done: [b"THAWED", b"FROZEN"],
    tells: false,
};

impl Freezing {
    /// Begins to freeze, or to thaw. Where that fails, some of it may have begun.
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
            freezing.cgroups.push(Moving::begin(cgroup, freeze)?);
        }
        Ok(freezing)
    }

    pub fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.cgroups.iter().map(|moving| (moving.events.as_fd(), PollFlags::PRI))
    }

    /// When there may be something new, at the latest.
    pub fn deadline(&self) -> Instant {
        match self.cgroups.iter().all(|moving| moving.words.tells) {
            true => self.until,
            false => self.until.min(Instant::now() + STEP),
        }
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

    pub fn freezes(&self) -> bool {
        self.freeze
    }
}

/// Lets go on what stands still, whenever it does.
pub fn thaw(cgroup: Cgroup) {
    let _ = Moving::begin(cgroup, false);
}

impl Moving {
    fn begin(cgroup: Cgroup, freeze: bool) -> Result<Moving, String> {
        let words = match cgroup.file(UNIFIED.file, OFlags::PATH) {
            Err(Errno::NOENT) => &LEGACY,
            _ => &UNIFIED,
        };
        let events = cgroup.file(words.events, OFlags::RDONLY).map_err(|error| match error {
            Errno::NOENT => {
                "the machine's kernel cannot freeze processes: it lacks CONFIG_CGROUP_FREEZER, which \
                 Linux 5.2 and later do not need"
                    .into()
            }
            error => ["cannot read ", words.events, ": ", &errno::in_words(&error)].concat(),
        })?;
        let moving = Moving { cgroup, words, events };
        moving.tell(freeze).map_err(|error| {
            ["cannot freeze the machine's processes: ", &errno::in_words(&error)].concat()
        })?;
        Ok(moving)
    }

    fn tell(&self, freeze: bool) -> Result<(), Errno> {
        self.cgroup.set(self.words.file, self.words.told[usize::from(freeze)])
    }

    fn is_done(&self, freeze: bool) -> bool {
        let mut content = [0; 256];
        // One that is gone meanwhile has nobody in it.
        let Ok(count) = pread(&self.events, &mut content[..], 0) else { return true };
        let wanted = self.words.done[usize::from(freeze)];
        content[..count].split(|byte| *byte == b'\n').any(|line| line == wanted)
    }
}

#[cfg(test)]
#[path = "freezer_test.rs"]
mod tests;
