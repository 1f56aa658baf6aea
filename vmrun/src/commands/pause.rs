//! `vmrun pause` and `unpause`: machines whose processes stand still.

use anyhow::{Result, bail};

use super::each;
use crate::arguments::MachinesArguments;
use crate::client::ask;
use crate::home::Home;
use crate::machine::Machines;
use crate::output::say;
use crate::supervisor::protocol::Request;

pub fn pause(home: &Home, arguments: &MachinesArguments) -> Result<u8> {
    request(home, arguments, &Request::Pause)
}

pub fn unpause(home: &Home, arguments: &MachinesArguments) -> Result<u8> {
    request(home, arguments, &Request::Unpause)
}

fn request(home: &Home, arguments: &MachinesArguments, request: &Request) -> Result<u8> {
    each(&arguments.machines, |name| {
        let machine = Machines::open(home).find(name)?;
        let status = machine.state()?.status;
        if !status.is_attended() {
            bail!("machine {name} does not run, it is {}", status.as_str());
        }
        ask(&machine, request)?;
        say(name)?;
        Ok(())
    })
}
