//! A machine in the background.

use std::ffi::OsString;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::command::{Command, vmrun};
use crate::process::Outcome;
use crate::setting;

/// How long a machine may take to come where a test wants it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine that was started with `run -d`, or made with `create`; removed when this is dropped.
#[derive(Debug)]
pub struct Detached {
    pub id: String,
    home: OsString,
}

impl Detached {
    /// `vmrun run -d WORDS… IMAGE COMMAND…` on the tests' store.
    #[track_caller]
    pub fn run(words: &[&str], image: &str, command: &[&str]) -> Detached {
        Detached::by("run", setting("VMRUN_HOME"), &[&["-d"], words].concat(), image, command)
    }

    /// `vmrun create WORDS… IMAGE COMMAND…` on the tests' store.
    #[track_caller]
    pub fn create(words: &[&str], image: &str, command: &[&str]) -> Detached {
        Detached::by("create", setting("VMRUN_HOME"), words, image, command)
    }

    /// As [`Detached::run`], with a script for the shell.
    #[track_caller]
    pub fn shell(words: &[&str], image: &str, script: &str) -> Detached {
        Detached::run(words, image, &["sh", "-c", script])
    }

    /// As [`Detached::run`], on another state directory.
    #[track_caller]
    pub fn run_in(home: impl Into<OsString>, words: &[&str], image: &str, command: &[&str]) -> Detached {
        Detached::by("run", home, &[&["-d"], words].concat(), image, command)
    }

    #[track_caller]
    fn by(verb: &str, home: impl Into<OsString>, words: &[&str], image: &str, command: &[&str]) -> Detached {
        let home = home.into();
        let line = [&[verb], words, &[image], command].concat();
        let id = vmrun(line).home(&home).run().succeeds().text();
        Detached { id: id.trim().to_owned(), home }
    }

    /// `vmrun VERB WORDS… ID MORE…`.
    pub fn vmrun(&self, verb: &[&str], more: &[&str]) -> Command {
        vmrun([verb, &[&self.id], more].concat()).home(&self.home)
    }

    /// `vmrun exec ID sh -c SCRIPT`.
    pub fn exec(&self, script: &str) -> Outcome {
        self.vmrun(&["exec"], &["sh", "-c", script]).run()
    }

    /// What `vmrun inspect` says in a field such as `.State.Status`.
    #[track_caller]
    pub fn inspect(&self, field: &str) -> String {
        let format = format!("{{{{{field}}}}}");
        let said = vmrun(["inspect", "--format", &format, &self.id]).home(&self.home).run().succeeds().text();
        said.trim_end().to_owned()
    }

    /// Waits until the machine is in this state.
    #[track_caller]
    pub fn becomes(&self, status: &str) {
        let begun = Instant::now();
        while self.inspect(".State.Status") != status {
            assert!(begun.elapsed() < PATIENCE, "the machine is {}, not {status}", self.inspect(".State"));
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until its log has `text` in it; the log.
    #[track_caller]
    pub fn logs(&self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let outcome = self.vmrun(&["logs"], &[]).run().succeeds();
            if outcome.text().contains(text) {
                return outcome.text();
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "no {text:?} in the log:\n{}\n{}",
                outcome.text(),
                outcome.stderr
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Its files in the state directory.
    pub fn directory(&self) -> PathBuf {
        PathBuf::from(&self.home).join("machines").join(&self.id)
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        let _ = vmrun(["rm", "-f", &self.id]).home(&self.home).run();
    }
}
