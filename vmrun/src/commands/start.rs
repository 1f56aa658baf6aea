//! `vmrun start`: machines that do not run.

use std::io::{self, IsTerminal};

use anyhow::{Result, bail};

use super::create::check_kvm;
use super::each;
use crate::arguments::StartArguments;
use crate::client::{Attachment, Parting, Session, launch};
use crate::home::Home;
use crate::machine::{MachineDirectory, Machines, Status};
use crate::output::say;

pub fn start(home: &Home, arguments: &StartArguments) -> Result<u8> {
    check_kvm()?;
    let attaches = arguments.attach || arguments.interactive;
    match arguments.machines.as_slice() {
        [one] if attaches => attended(home, arguments, one),
        _ if attaches => bail!("only one machine can be attached to at a time"),
        names => each(names, |name| {
            begin(home, &Machines::open(home).find(name)?)?;
            say(name)?;
            Ok(())
        }),
    }
}

/// Starts a machine in the background; one that runs is left alone.
pub fn begin(home: &Home, machine: &MachineDirectory) -> Result<()> {
    match machine.state()?.status {
        Status::Running | Status::Restarting => return Ok(()),
        Status::Paused => bail!("the machine is paused: `vmrun unpause` lets it go on"),
        Status::Created | Status::Exited => {}
    }
    launch(home, machine)?;
    let attachment = Attachment { terminal: machine.config()?.tty, ..Attachment::default() };
    match Session::begin(machine, attachment)?.until_started()? {
        Parting::Ended(code) if code >= crate::FAILED => {
            bail!("the machine could not be started (exit code {code})")
        }
        _ => Ok(()),
    }
}

fn attended(home: &Home, arguments: &StartArguments, name: &str) -> Result<u8> {
    let machine = Machines::open(home).find(name)?;
    let config = machine.config()?;
    let stdin = arguments.interactive && config.open_stdin;
    if config.tty && stdin && !io::stdin().is_terminal() {
        bail!("the input device is not a terminal: leave out -i, or start from one");
    }
    if machine.state()?.status.is_attended() {
        bail!("the machine runs already: `vmrun attach` connects to it");
    }
    launch(home, &machine)?;
    let attachment = Attachment {
        terminal: config.tty,
        stdin,
        output: true,
        signals: true,
        detach_keys: arguments.detach_keys.clone(),
        ..Attachment::default()
    };
    match Session::begin(&machine, attachment)?.until_parted()? {
        Parting::Ended(code) => Ok(code),
        _ => Ok(0),
    }
}
