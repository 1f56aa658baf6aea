//! What the guest's last word comes to.

use guest_protocol::{ExitStatus, GuestMessage};
use serde::{Deserialize, Serialize};

/// Who, or what, ended a machine: an exit code alone does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Its process ended, or let the whole system end.
    Process,
    /// Its process could not be started.
    NotStarted,
    /// Its kernel panicked.
    Panic,
    /// Its system ended before the process did, or its processor could not go on.
    Crash,
    /// Somebody asked for it.
    Stopped,
    /// Something on this side of the machine failed.
    Failed,
}

/// How a machine has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub ending: Ending,
    pub code: u8,
    /// What the user would not see otherwise, in a line.
    pub notice: Option<String>,
}

impl Outcome {
    pub fn of_process(code: u8) -> Outcome {
        Outcome { ending: Ending::Process, code, notice: None }
    }

    pub fn stopped(code: u8) -> Outcome {
        Outcome { ending: Ending::Stopped, code, notice: None }
    }

    pub fn failed(notice: impl Into<String>) -> Outcome {
        Outcome::broken(Ending::Failed, notice)
    }

    /// An end that is not the process's own.
    pub fn broken(ending: Ending, notice: impl Into<String>) -> Outcome {
        Outcome { ending, code: crate::FAILED, notice: Some(notice.into()) }
    }

    /// How the process in `machine` ended, or did not start.
    pub fn of(message: GuestMessage, machine: &str) -> Outcome {
        match message {
            GuestMessage::Exited(status) => {
                let notice = match status {
                    ExitStatus::PoweredOff => Some(format!("{machine} powered off")),
                    ExitStatus::Rebooted => {
                        Some(format!("{machine} asked for a reboot; it is not started again"))
                    }
                    ExitStatus::Code(_) | ExitStatus::Signal(_) => None,
                };
                Outcome { ending: Ending::Process, code: status.exit_code(), notice }
            }
            GuestMessage::StartFailed { failure, message } => {
                Outcome { ending: Ending::NotStarted, code: failure.exit_code(), notice: Some(message) }
            }
            GuestMessage::Started => {
                Outcome::failed(format!("{machine} was said to have started when it had ended"))
            }
            GuestMessage::Fault { message } => {
                Outcome::failed(format!("{machine} could not be brought up: {message}"))
            }
        }
    }
}
