//! What has become of a machine, as `state.json` says it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::outcome::Ending;

/// The states of Docker's containers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    #[default]
    Created,
    Running,
    Paused,
    /// It has ended, and its supervisor will start it again.
    Restarting,
    Exited,
}

/// Written by the machine's supervisor, or by a command that holds the machine's lock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub status: Status,
    /// Process IDs, while they run.
    pub supervisor: Option<u32>,
    pub monitor: Option<u32>,
    /// Where the sockets of the machine are, while it runs.
    pub runtime: Option<PathBuf>,
    /// RFC 3339.
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub exit_code: Option<u8>,
    /// Who or what ended it last.
    #[serde(default)]
    pub ending: Option<Ending>,
    /// What went wrong, in a line.
    pub error: Option<String>,
    /// How many times its supervisor has started it again.
    pub restarts: u32,
    /// Somebody asked it to end, so no policy starts it again.
    pub stopped_by_user: bool,
    /// How the rootfs was attached at the last start: `pmem` or `blk`, why, and whether as a private copy.
    pub rootfs_device: Option<String>,
    pub rootfs_reason: Option<String>,
    pub rootfs_private: bool,
    /// `erofs` or `ext4`.
    #[serde(default)]
    pub rootfs_format: Option<String>,
}

impl Status {
    /// Whether a supervisor ought to be there.
    pub fn is_attended(self) -> bool {
        matches!(self, Status::Running | Status::Paused | Status::Restarting)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Exited => "exited",
        }
    }
}

impl State {
    /// The truth about a state whose supervisor is gone: the host was restarted, or somebody killed it.
    pub fn found_dead(self) -> State {
        State {
            status: Status::Exited,
            supervisor: None,
            monitor: None,
            runtime: None,
            exit_code: Some(137),
            ending: Some(Ending::Failed),
            finished_at: None,
            error: Some("its supervisor was killed, or the host restarted".into()),
            ..self
        }
    }
}
