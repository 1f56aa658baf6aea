//! What the guest's last word comes to.

use guest_protocol::{ExitStatus, GuestMessage};

/// How a machine has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub code: u8,
    /// What the user would not see otherwise, in a line.
    pub notice: Option<String>,
}

impl Outcome {
    pub fn of_code(code: u8) -> Outcome {
        Outcome { code, notice: None }
    }

    pub fn failed(notice: impl Into<String>) -> Outcome {
        Outcome { code: crate::FAILED, notice: Some(notice.into()) }
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
                Outcome { code: status.exit_code(), notice }
            }
            GuestMessage::StartFailed { failure, message } => {
                Outcome { code: failure.exit_code(), notice: Some(message) }
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
