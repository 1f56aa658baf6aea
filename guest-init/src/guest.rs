//! What of the machine is at hand while it runs, for whatever the host asks of it.

use guest_protocol::{Init, Process};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};

use crate::cgroup::{AGENT, Cgroup, MACHINE};
use crate::command::NotStarted;
use crate::errno;
use crate::namespaces::Namespaces;
use crate::overlay::Layers;
use crate::process::{self, Started, Starting};
use crate::rootfs::RootParts;
use crate::stamp::Stamps;

/// How many files guest-init has open at most: an exec takes seven.
const MAX_OPEN_FILES: u64 = 16384;

pub struct Guest {
    pub cgroup: Option<Cgroup>,
    pub root: Option<RootParts>,
    /// guest-init's own, where it is not PID 1.
    agent: Option<Cgroup>,
    init: Init,
    /// What a process is given as its limit of open files.
    files: Rlimit,
    /// Those of the main process, from the first exec on.
    namespaces: Option<(Pid, Namespaces)>,
}

impl Guest {
    pub fn new(init: Init, root: Option<RootParts>, cgroup: Option<Cgroup>) -> Guest {
        let agent = if init == Init::Image { Cgroup::make(AGENT) } else { None };
        Guest { cgroup, root, agent, init, files: getrlimit(Resource::Nofile), namespaces: None }
    }

    /// What the machine has changed and what its image was, where that is known apart.
    pub fn layers(&self) -> Option<&Layers> {
        self.root.as_ref().and_then(RootParts::layers)
    }

    /// Starts the main process; returns when the command itself runs.
    pub fn start_main(
        &self,
        process: &Process,
        hostname: Option<&str>,
        stamps: &mut Stamps,
    ) -> Result<Started, NotStarted> {
        let prepared = process::prepare(process, hostname, self.files, self.init)?;
        // Here a template of a warm machine is complete: whatever waits to be woken with a new identity
        // waits before this line.
        match self.init {
            Init::None => prepared.start(process, stamps, self.cgroup.as_ref()),
            Init::Image => prepared.start_as_init(stamps, self.cgroup.as_ref(), self.agent.as_ref()),
        }
    }

    /// All cgroups that are frozen when the machine is paused.
    pub fn frozen_together(&self) -> Vec<Cgroup> {
        // What is divided among cgroups otherwise is in one of these.
        if let Some(freezer) = self.cgroup.as_ref().and_then(Cgroup::freezer) {
            return vec![freezer];
        }
        match self.init {
            Init::None => Cgroup::open(MACHINE).into_iter().collect(),
            Init::Image => Cgroup::all_but(AGENT),
        }
    }

    /// Starts one more process beside the main one.
    pub fn start(&mut self, process: &Process, main: Option<Pid>) -> Result<Starting, NotStarted> {
        let Some(main) = main else {
            return Err(NotStarted::other("the machine runs no process that another could join"));
        };
        if self.cgroup.as_ref().is_some_and(Cgroup::is_frozen) {
            return Err(NotStarted::other("the machine is paused: `vmrun unpause` lets it go on"));
        }
        let namespaces = match self.namespaces.take() {
            Some((pid, namespaces)) if pid == main => namespaces,
            _ => {
                let most = Rlimit { current: Some(MAX_OPEN_FILES), maximum: Some(MAX_OPEN_FILES) };
                let _ = setrlimit(Resource::Nofile, most);
                Namespaces::of(main).map_err(|error| no_way(error, "cannot find the machine's namespaces"))?
            }
        };
        let started = self.start_in(&namespaces, process, main);
        self.namespaces = Some((main, namespaces));
        started
    }

    fn start_in(
        &self,
        namespaces: &Namespaces,
        process: &Process,
        main: Pid,
    ) -> Result<Starting, NotStarted> {
        let name = rustix::system::uname();
        let hostname = name.nodename().to_str().ok();
        let prepared = process::prepare(process, hostname, self.files, Init::None)?;
        prepared.start_in(namespaces, self.cgroup.as_ref(), || Cgroup::of(main))
    }

    pub fn too_many(&self) -> NotStarted {
        NotStarted::other("too many commands run in the machine at once")
    }
}

fn no_way(error: Errno, what: &str) -> NotStarted {
    NotStarted::other([what, ": ", &errno::in_words(&error)].concat())
}
