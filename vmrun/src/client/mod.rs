//! The user's side of a machine: starting its supervisor, and talking to it.

mod attach;
mod detach_keys;
mod exec;
mod launch;
mod watch;

use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, anyhow};
use guest_protocol::frame;

use crate::machine::MachineDirectory;
use crate::place::Socket;
use crate::supervisor::protocol::{Ended, Reply, Request};

pub use attach::{Attachment, Parting, Session};
pub use detach_keys::DetachKeys;
pub use exec::exec;
pub use launch::launch;
pub use watch::watch;

/// Asks a machine's supervisor for something, and waits for the answer.
pub fn ask(machine: &MachineDirectory, request: &Request) -> Result<Ended> {
    let connection = greet(&machine.control_socket()?, request)?;
    let reply: Reply =
        frame::read(&connection).context("the machine's supervisor ended without an answer")?;
    reply.map_err(|message| anyhow!(message))
}

/// A connection that has said what it is.
fn greet(socket: &Socket, request: &Request) -> Result<UnixStream> {
    let connection =
        socket.connect().with_context(|| format!("cannot reach the machine's supervisor at {socket}"))?;
    frame::write(&connection, request)?;
    Ok(connection)
}
