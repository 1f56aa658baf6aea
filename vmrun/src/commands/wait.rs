//! `vmrun wait`: the exit codes of machines, when they have ended.

use anyhow::{Result, bail};

use super::each;
use crate::arguments::MachinesArguments;
use crate::client::ask;
use crate::home::Home;
use crate::machine::{MachineDirectory, Machines};
use crate::output::say;
use crate::supervisor::protocol::Request;

pub fn wait(home: &Home, arguments: &MachinesArguments) -> Result<u8> {
    each(&arguments.machines, |name| {
        say(code(&Machines::open(home).find(name)?)?)?;
        Ok(())
    })
}

fn code(machine: &MachineDirectory) -> Result<u8> {
    let state = machine.state()?;
    if !machine.path().exists() {
        bail!("the machine has just been removed");
    }
    if !state.status.is_attended() {
        return Ok(state.exit_code.unwrap_or(0));
    }
    match ask(machine, &Request::Wait) {
        Ok(ended) => Ok(ended.code),
        // It ended between the two, or its supervisor was killed.
        Err(error) => match machine.state() {
            Ok(state) if !state.status.is_attended() => Ok(state.exit_code.unwrap_or(0)),
            _ => Err(error),
        },
    }
}
