//! What stays of a machine in the state directory.

use std::fs;
use std::path::PathBuf;

use crate::process::Outcome;
use crate::setting;

/// The record of a machine that was run with `--verbose`, so that it told its ID.
#[derive(Debug)]
pub struct Record {
    directory: PathBuf,
}

impl Record {
    #[track_caller]
    pub fn of(outcome: &Outcome) -> Record {
        let id = outcome.stderr.split_once("vmrun: machine ").and_then(|(_, rest)| rest.split(' ').next());
        let id = id.unwrap_or_else(|| panic!("no machine named in\n{}", outcome.stderr));
        Record { directory: PathBuf::from(setting("VMRUN_HOME")).join("machines").join(id) }
    }

    /// The kernel's log, whole.
    #[track_caller]
    pub fn kernel_log(&self) -> String {
        let path = self.directory.join("kernel.log");
        let log = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        String::from_utf8_lossy(&log).into_owned()
    }

    /// What the machine is and what has become of it, `machine.json` and `state.json`.
    #[track_caller]
    pub fn description(&self) -> serde_json::Value {
        let read = |file: &str| -> serde_json::Value {
            let path = self.directory.join(file);
            let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let (mut machine, state) = (read("machine.json"), read("state.json"));
        let entries = state.as_object().into_iter().flatten();
        entries.for_each(|(key, value)| machine[key] = value.clone());
        machine
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
