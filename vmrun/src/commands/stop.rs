//! `vmrun stop`: machines whose processes are asked to end.

use anyhow::Result;

use super::each;
use crate::arguments::StopArguments;
use crate::client::ask;
use crate::home::Home;
use crate::machine::{MachineDirectory, Machines, signal_number};
use crate::output::say;
use crate::supervisor::protocol::Request;

pub fn stop(home: &Home, arguments: &StopArguments) -> Result<u8> {
    each(&arguments.machines, |name| {
        end(&Machines::open(home).find(name)?, arguments.signal.as_deref(), arguments.time, false)?;
        say(name)?;
        Ok(())
    })
}

/// Ends a machine, and waits for that; one that does not run is left alone. With `keep` it stays, even if it was run
/// with `--rm`.
pub fn end(machine: &MachineDirectory, signal: Option<&str>, seconds: Option<u64>, keep: bool) -> Result<()> {
    if !machine.state()?.status.is_attended() {
        return Ok(());
    }
    let config = machine.config()?;
    let request = Request::Stop {
        signal: signal.map_or(Ok(config.stop_signal), signal_number)?,
        seconds: seconds.unwrap_or(config.stop_timeout),
        keep,
    };
    match ask(machine, &request) {
        Ok(_) => Ok(()),
        // It may have ended by itself, just now.
        Err(_) if !machine.path().exists() || !machine.state()?.status.is_attended() => Ok(()),
        Err(error) => Err(error),
    }
}
