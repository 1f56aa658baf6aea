//! A client that only listens: to what a machine writes, and how it ends.

use std::os::unix::net::UnixStream;
use std::thread;

use anyhow::Result;
use guest_protocol::{Stream, frame};

use super::greet;
use crate::machine::{MachineDirectory, fill_random};
use crate::supervisor::protocol::{FromClient, Request, ToClient};

/// Attaches to a machine whose supervisor runs, and lets it begin. Its standard output and error come over the connections
/// that are returned, and wait to be read. `hear` is called in a thread of its own: with what the supervisor tells, and
/// with nothing when it is gone. It says whether to go on.
pub fn watch(
    machine: &MachineDirectory,
    mut hear: impl FnMut(Option<ToClient>) -> bool + Send + 'static,
) -> Result<[UnixStream; 2]> {
    let mut token = [0; 8];
    fill_random(&mut token)?;
    let token = u64::from_ne_bytes(token);
    let socket = machine.control_socket()?;
    let stream = |stream| greet(&socket, &Request::Stream { token, stream });
    let streams = [stream(Stream::Stdout)?, stream(Stream::Stderr)?];
    let control = greet(&socket, &Request::Attach { token, streams: 2 })?;
    frame::write(&control, &FromClient::Begin)?;
    thread::spawn(move || {
        while let Ok(message) = frame::read::<ToClient>(&control) {
            if !hear(Some(message)) {
                return;
            }
        }
        hear(None);
    });
    Ok(streams)
}
