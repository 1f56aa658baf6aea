//! What happens to machines, told to those who ask: one JSON line each in the state directory's `events.log`.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use rootfs_builder::image::format_time;
use serde::{Deserialize, Serialize};

use crate::home::Home;
use crate::machine::{MachineConfig, MachineDirectory};

/// The log, and the one before it, take at most this each, in bytes.
const LIMIT: u64 = 8 << 20;

/// One happening.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineEvent {
    /// RFC 3339.
    pub time: String,
    /// `create`, `start`, `die`, ….
    pub action: String,
    pub id: String,
    pub name: String,
    pub image: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub labels: std::collections::BTreeMap<String, String>,
}

pub fn log(home: &Home) -> PathBuf {
    home.root().join("events.log")
}

/// Tells of something that happened to a machine. Nothing depends on it: what cannot be written is lost.
pub fn record(
    home: &Home,
    action: &str,
    machine: &MachineDirectory,
    config: &MachineConfig,
    exit_code: Option<u8>,
) {
    let event = MachineEvent {
        time: format_time(SystemTime::now()).unwrap_or_default(),
        action: action.to_owned(),
        id: config.id.as_str().to_owned(),
        name: machine.name().unwrap_or_default(),
        image: config.image.clone(),
        exit_code,
        labels: config.labels.clone(),
    };
    let Ok(mut line) = serde_json::to_vec(&event) else { return };
    line.push(b'\n');
    let path = log(home);
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LIMIT) {
        let _ = fs::rename(&path, path.with_added_extension("1"));
    }
    // Appended in one write, so that lines of several processes do not mix.
    if let Ok(mut file) = File::options().create(true).append(true).open(&path) {
        let _ = file.write_all(&line);
    }
}
