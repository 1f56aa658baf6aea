//! The freezer of cgroup v1. That of v2 is what every machine of the end-to-end tests has.

use std::fs;
use std::process::{Child, Command};

use rustix::fs::{AtFlags, Mode, openat, unlinkat};

use super::*;

/// A process in a cgroup that can be frozen.
struct Frozen {
    freezer: Cgroup,
    name: String,
    process: Child,
}

impl Frozen {
    fn new(test: &str) -> Frozen {
        let place = tempfile::tempdir().unwrap();
        let name = format!("vmrun-{}-{test}", std::process::id());
        // A directory that is no cgroup: what a cgroup of a kernel before 5.2 is to a freezer.
        let mut cgroup = Cgroup::open(place.path()).unwrap();
        cgroup.make_freezable(place.path().to_str().unwrap(), &name);
        let freezer = cgroup.freezer().expect("this takes root, and a kernel with CONFIG_CGROUP_FREEZER");
        assert_eq!(fs::read_dir(&place).unwrap().count(), 0, "it is still mounted");
        let process = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        freezer.set("cgroup.procs", &process.id().to_string()).unwrap();
        assert!(!cgroup.is_frozen());
        Frozen { freezer, name, process }
    }

    fn freeze(&self, freeze: bool) {
        let cgroup = self.freezer.file(".", OFlags::PATH).unwrap();
        let cgroup = Cgroup::open(crate::mounts::name_of(&cgroup)).unwrap();
        let nobody = Rc::new(rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 0).unwrap());
        let freezing = Freezing::begin(vec![cgroup], freeze, &nobody).unwrap();
        let outcome = loop {
            if let Some(outcome) = freezing.outcome() {
                break outcome;
            }
            assert!(freezing.deadline() < Instant::now() + STEP + STEP, "nobody would look again");
            std::thread::sleep(STEP);
        };
        outcome.unwrap();
    }

    /// Clock ticks that the process has had.
    fn time(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        stat.split(' ').nth(13).unwrap().parse().unwrap()
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = self.freezer.set(LEGACY.file, "THAWED");
        let _ = self.process.kill();
        let _ = self.process.wait();
        let above = openat(&self.freezer, "..", OFlags::PATH, Mode::empty()).unwrap();
        unlinkat(&above, &self.name, AtFlags::REMOVEDIR).unwrap();
    }
}

#[test]
fn a_freezer_of_version_1_stops_processes_and_lets_them_go_on() {
    let frozen = Frozen::new("stops");
    frozen.freeze(true);
    assert!(frozen.freezer.is_frozen());
    let time = frozen.time();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(frozen.time(), time);
    frozen.freeze(false);
    assert!(!frozen.freezer.is_frozen());
    let until = Instant::now() + PATIENCE;
    while frozen.time() == time {
        assert!(Instant::now() < until, "it does not go on");
        std::thread::sleep(STEP);
    }
}

#[test]
fn what_cannot_freeze_says_what_is_missing() {
    let place = tempfile::tempdir().unwrap();
    let nobody = Rc::new(rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 0).unwrap());
    let refused = Freezing::begin(vec![Cgroup::open(place.path()).unwrap()], true, &nobody).err().unwrap();
    assert!(refused.contains("CONFIG_CGROUP_FREEZER") && refused.contains("5.2"), "{refused}");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
}
