//! What the process may do, before it is executed: limits, capabilities, its user.

use guest_protocol::{Limit, Process};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, write};
use rustix::process::{Gid, Resource, Rlimit, Uid, setrlimit};
use rustix::thread::{
    CapabilitySet, capabilities, remove_capability_from_bounding_set, set_capabilities, set_thread_gid,
    set_thread_groups, set_thread_uid,
};

use crate::command::NotStarted;
use crate::errno;
use crate::user::Identity;

/// What systemd and Docker let a process raise its open files to.
const MAX_OPEN_FILES: u64 = 524_288;

/// By their numbers.
const RESOURCES: [Resource; 16] = [
    Resource::Cpu,
    Resource::Fsize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::Rss,
    Resource::Nproc,
    Resource::Nofile,
    Resource::Memlock,
    Resource::As,
    Resource::Locks,
    Resource::Sigpending,
    Resource::Msgqueue,
    Resource::Nice,
    Resource::Rtprio,
    Resource::Rttime,
];

/// What a process gets of a machine's rights.
pub struct Privileges {
    limits: Vec<Limit>,
    dropped: u64,
    oom_score_adj: Option<i16>,
    /// What guest-init itself was given for open files.
    files: Rlimit,
}

impl Privileges {
    pub fn of(process: &Process, files: Rlimit) -> Privileges {
        Privileges {
            limits: process.limits.clone(),
            dropped: process.dropped_capabilities,
            oom_score_adj: process.oom_score_adj,
            files,
        }
    }

    /// In the child: gives up what is not its, and becomes `identity`.
    pub fn apply(&self, identity: &Identity) -> Result<(), NotStarted> {
        // The soft limit is what it was, for programs that close every descriptor they might have.
        let _ = setrlimit(Resource::Nofile, Rlimit { maximum: Some(MAX_OPEN_FILES), ..self.files });
        for limit in &self.limits {
            set_limit(limit).map_err(|error| {
                doing(&["cannot set the limit ", &limit.resource.to_string()].concat(), error)
            })?;
        }
        if let Some(score) = self.oom_score_adj {
            adjust_oom_score(score).map_err(|error| doing("cannot adjust the OOM score", error))?;
        }
        self.limit_bounds().map_err(|error| doing("cannot give up capabilities", error))?;
        become_user(identity).map_err(|error| doing("cannot become the user", error))?;
        self.drop_capabilities().map_err(|error| doing("cannot give up capabilities", error))
    }

    /// What no program that it executes can get back.
    fn limit_bounds(&self) -> Result<(), Errno> {
        for number in (0..64).filter(|number| self.dropped & (1 << number) != 0) {
            match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
                // The kernel knows of none from here on.
                Err(Errno::INVAL) => break,
                removed => removed?,
            }
        }
        Ok(())
    }

    /// The ambient ones go with the inheritable ones.
    fn drop_capabilities(&self) -> Result<(), Errno> {
        if self.dropped == 0 {
            return Ok(());
        }
        let mut sets = capabilities(None)?;
        let dropped = CapabilitySet::from_bits_retain(self.dropped);
        sets.effective = sets.effective.difference(dropped);
        sets.permitted = sets.permitted.difference(dropped);
        sets.inheritable = sets.inheritable.difference(dropped);
        set_capabilities(None, sets)
    }
}

fn doing(what: &str, error: Errno) -> NotStarted {
    NotStarted::other([what, ": ", &errno::in_words(&error)].concat())
}

fn set_limit(limit: &Limit) -> Result<(), Errno> {
    let resource = RESOURCES.get(usize::from(limit.resource)).ok_or(Errno::INVAL)?;
    setrlimit(*resource, Rlimit { current: limit.soft, maximum: limit.hard })
}

/// Of this process, and of those that it will fork.
pub fn adjust_oom_score(score: i16) -> Result<(), Errno> {
    let file = open("/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write(file, score.to_string().as_bytes()).map(drop)
}

fn become_user(identity: &Identity) -> Result<(), Errno> {
    let groups: Vec<Gid> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    set_thread_groups(&groups)?;
    set_thread_gid(Gid::from_raw(identity.gid))?;
    set_thread_uid(Uid::from_raw(identity.uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_in_the_order_of_their_numbers() {
        let number = |resource: Resource| RESOURCES.iter().position(|other| *other == resource).unwrap();
        assert_eq!(number(Resource::Nofile), libc::RLIMIT_NOFILE as usize);
        assert_eq!(number(Resource::Nproc), libc::RLIMIT_NPROC as usize);
        assert_eq!(number(Resource::Memlock), libc::RLIMIT_MEMLOCK as usize);
        assert_eq!(number(Resource::Rttime), libc::RLIMIT_RTTIME as usize);
    }
}
