//! What of the machine is at hand while it runs, for whatever the host asks of it.

use guest_protocol::Process;
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};

use crate::cgroup::Cgroup;
use crate::command::NotStarted;
use crate::errno;
use crate::namespaces::Namespaces;
use crate::overlay::Layers;
use crate::process::{self, Starting};

/// How many files guest-init has open at most: an exec takes seven.
const MAX_OPEN_FILES: u64 = 16384;

pub struct Guest {
    pub cgroup: Option<Cgroup>,
    pub layers: Option<Layers>,
    /// What a process is given as its limit of open files.
    files: Rlimit,
    /// Those of the main process, from the first exec on.
    namespaces: Option<(Pid, Namespaces)>,
}

impl Guest {
    pub fn new(cgroup: Option<Cgroup>, layers: Option<Layers>) -> Guest {
        Guest { cgroup, layers, files: getrlimit(Resource::Nofile), namespaces: None }
    }

    /// What a process is given as its limit of open files, beside what it may raise it to.
    pub fn files(&self) -> Rlimit {
        self.files
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
        let prepared = process::prepare(process, hostname, self.files)?;
        prepared.start_in(namespaces, self.cgroup.as_ref(), || Cgroup::of(main))
    }

    pub fn too_many(&self) -> NotStarted {
        NotStarted::other("too many commands run in the machine at once")
    }
}

fn no_way(error: Errno, what: &str) -> NotStarted {
    NotStarted::other([what, ": ", &errno::in_words(&error)].concat())
}
