//! The machine's processes stand still while their files are read.

use std::rc::Rc;

use rustix::event::{PollFd, Timespec, poll};
use rustix::fd::OwnedFd;

use crate::cgroup::Cgroup;
use crate::freezer::Freezing;

const STEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// They go on when this is dropped, but for those that stood still before.
pub struct Standstill(Option<Freezing>);

impl Standstill {
    /// Returns when all processes of these cgroups stand still; this one is in none of them. `connection`
    /// is whoever wants it.
    pub fn begin(mut cgroups: Vec<Cgroup>, connection: &Rc<OwnedFd>) -> Result<Standstill, String> {
        let found_any = !cgroups.is_empty();
        cgroups.retain(|cgroup| !cgroup.is_frozen());
        if cgroups.is_empty() && found_any {
            return Ok(Standstill(None));
        }
        let standstill = Standstill(Some(Freezing::begin(cgroups, true, connection)?));
        while let Some(freezing) = &standstill.0 {
            if let Some(outcome) = freezing.outcome() {
                return outcome.map(|()| standstill);
            }
            let interests = freezing.interests();
            let mut fds: Vec<_> = interests.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)).collect();
            let _ = poll(&mut fds, Some(&STEP));
        }
        Ok(standstill)
    }
}

impl Drop for Standstill {
    fn drop(&mut self) {
        if let Some(freezing) = &self.0 {
            freezing.give_up();
        }
    }
}
