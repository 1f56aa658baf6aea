//! `vmrun kill`: a signal for machines' processes.

use anyhow::{Result, bail};

use super::each;
use crate::arguments::KillArguments;
use crate::client::ask;
use crate::home::Home;
use crate::machine::{Machines, signal_number};
use crate::output::say;
use crate::supervisor::protocol::Request;

pub fn kill(home: &Home, arguments: &KillArguments) -> Result<u8> {
    let signal = signal_number(&arguments.signal)?;
    each(&arguments.machines, |name| {
        let machine = Machines::open(home).find(name)?;
        let status = machine.state()?.status;
        if !status.is_attended() {
            bail!("machine {name} does not run, it is {}", status.as_str());
        }
        ask(&machine, &Request::Signal(signal))?;
        say(name)?;
        Ok(())
    })
}
