//! A client that only listens: to how a machine ends, while its output goes to its log.

use std::thread;

use anyhow::Result;
use guest_protocol::frame;

use super::greet;
use crate::machine::{MachineDirectory, fill_random};
use crate::supervisor::protocol::{FromClient, Request, ToClient};

/// Attaches to a machine whose supervisor runs, without any of its streams, and lets it begin. `hear` is called in a
/// thread of its own: with what the supervisor tells, and with nothing when it is gone. It says whether to go on.
pub fn watch(
    machine: &MachineDirectory,
    mut hear: impl FnMut(Option<ToClient>) -> bool + Send + 'static,
) -> Result<()> {
    let mut token = [0; 8];
    fill_random(&mut token)?;
    let attach = Request::Attach { token: u64::from_ne_bytes(token), streams: 0 };
    let control = greet(&machine.control_socket()?, &attach)?;
    frame::write(&control, &FromClient::Begin)?;
    thread::spawn(move || {
        while let Ok(message) = frame::read::<ToClient>(&control) {
            if !hear(Some(message)) {
                return;
            }
        }
        hear(None);
    });
    Ok(())
}
