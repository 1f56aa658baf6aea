//! Starting a machine's supervisor.

use std::io::Read;
use std::os::unix::net::UnixStream;

use anyhow::{Result, bail};

use crate::home::Home;
use crate::machine::{MachineDirectory, window_size};
use crate::supervisor::{Order, READY};

/// The most that is read of what a supervisor complains of, in bytes.
const MAX_COMPLAINT: u64 = 16 << 10;

/// Starts the supervisor of `machine`, and with it the machine; returns when it can be talked to.
pub fn launch(home: &Home, machine: &MachineDirectory) -> Result<()> {
    // Until the supervisor has a lock of its own and says that the machine runs, nobody removes it.
    let place = machine.place();
    let _lock = if place.is_emulated() { Some(machine.lock()?) } else { None };
    // What the state directory is called in the emulated host.
    let root = home.root().canonicalize().unwrap_or_else(|_| home.root().to_owned());
    let order = Order { id: machine.id().clone(), root, window: window_size() };
    let supervisor = place.spawn(machine.id().as_str(), &order.words(), needed_memory(home, machine)?)?;
    await_ready(supervisor)
}

/// What the machine may take of its host's memory, in bytes.
fn needed_memory(home: &Home, machine: &MachineDirectory) -> Result<u64> {
    let config = machine.config()?;
    let copy = match config.no_share {
        true => home.images()?.resolve(&config.image_id)?.disk().length,
        false => 0,
    };
    Ok(config.memory.saturating_add(copy))
}

fn await_ready(mut supervisor: UnixStream) -> Result<()> {
    let mut said = vec![0; READY.len()];
    let mut read = 0;
    while read < said.len() {
        match supervisor.read(&mut said[read..]) {
            Ok(length @ 1..) => read += length,
            _ => break,
        }
    }
    said.truncate(read);
    if said == READY.as_bytes() {
        return Ok(());
    }
    let _ = supervisor.take(MAX_COMPLAINT).read_to_end(&mut said);
    match String::from_utf8_lossy(&said).lines().last() {
        Some(line) => bail!("{}", line.strip_prefix("vmrun: ").unwrap_or(line)),
        None => bail!("the machine's supervisor ended before it began"),
    }
}
