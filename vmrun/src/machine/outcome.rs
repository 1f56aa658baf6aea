//! What the guest's last word comes to.

use anyhow::{Result, bail};
use guest_protocol::{ExitStatus, GuestMessage};

use crate::output::warn;

/// The exit code for how the process in `machine` ended, or did not start; what the user would not
/// see otherwise is said in a line.
pub fn exit_code(message: GuestMessage, machine: &str) -> Result<u8> {
    match message {
        GuestMessage::Exited(status) => {
            match status {
                ExitStatus::PoweredOff => warn(&format!("vmrun: {machine} powered off")),
                ExitStatus::Rebooted => {
                    warn(&format!("vmrun: {machine} asked for a reboot; it is not started again"))
                }
                ExitStatus::Code(_) | ExitStatus::Signal(_) => {}
            }
            Ok(status.exit_code())
        }
        GuestMessage::StartFailed { failure, message } => {
            warn(&format!("vmrun: {message}"));
            Ok(failure.exit_code())
        }
        GuestMessage::Started => bail!("{machine} was said to have started when it had ended"),
        GuestMessage::Fault { message } => bail!("{machine} could not be brought up: {message}"),
    }
}
