//! State directories of which each has an emulated host of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};
use tests::{Command, setting, vmrun};

const PATIENCE: Duration = Duration::from_secs(240);

/// A state directory whose emulated host ends with it.
pub struct Home(tempfile::TempDir);

impl Home {
    /// With the tests' kernels.
    pub fn new() -> Home {
        let home = tempfile::tempdir().unwrap();
        let kernels = Path::new(&setting("VMRUN_HOME")).join("kernels");
        std::os::unix::fs::symlink(kernels, home.path().join("kernels")).unwrap();
        Home(home)
    }

    /// With the busybox image, too.
    pub fn with_busybox() -> Home {
        let home = Home::new();
        let tar = Path::new(&setting("VMRUN_CACHE")).join("tests/images/busybox.tar");
        home.vmrun(&["import", "--quiet", tar.to_str().unwrap(), "busybox"]).run().succeeds();
        home
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn vmrun(&self, words: &[&str]) -> Command {
        vmrun(words).home(self.0.path()).env("VMRUN_EMULATED_MEMORY", "2g").patience(PATIENCE)
    }

    /// Starts the host, if it does not run, and has something run in it.
    pub fn touch(&self) {
        self.vmrun(&["emulate", "spawn", "doctor"]).run().succeeds().says(&["virtualization (AMD-V)"]);
    }

    /// What `status` says, if the host runs.
    pub fn status(&self) -> Option<serde_json::Value> {
        let outcome = self.vmrun(&["emulate", "status", "--format", "json"]).run();
        let status: serde_json::Value = serde_json::from_slice(&outcome.stdout).unwrap();
        assert_eq!(outcome.code(), if status["running"] == true { 0 } else { 1 });
        (status["running"] == true).then_some(status)
    }

    /// What commands connect to.
    pub fn socket(&self) -> PathBuf {
        let published = fs::read(self.path().join("emulated-host/socket.json")).unwrap();
        let published: serde_json::Value = serde_json::from_slice(&published).unwrap();
        published["socket"].as_str().unwrap().into()
    }

    pub fn qemu(&self) -> Pid {
        let status = self.status().expect("no emulated host runs");
        Pid::from_raw(status["pid"].as_i64().unwrap() as i32).unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A test that has failed leaves machines.
        self.vmrun(&["emulate", "stop", "--force"]).run();
    }
}

#[track_caller]
pub fn ends(pid: Pid) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while test_kill_process(pid).is_ok() {
        assert!(Instant::now() < deadline, "process {} has not ended", pid.as_raw_nonzero());
        thread::sleep(Duration::from_millis(20));
    }
}
