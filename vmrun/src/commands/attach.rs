//! `vmrun attach`: this terminal, connected to a machine's process.

use std::io::{self, IsTerminal};

use anyhow::{Result, bail};

use crate::arguments::AttachArguments;
use crate::client::{Attachment, Parting, Session};
use crate::home::Home;
use crate::machine::{Machines, Status};

pub fn attach(home: &Home, arguments: &AttachArguments) -> Result<u8> {
    let machine = Machines::open(home).find(&arguments.machine)?;
    match machine.state()?.status {
        Status::Running | Status::Restarting => {}
        Status::Paused => bail!("machine {} is paused: unpause it first", arguments.machine),
        status => bail!("machine {} does not run, it is {}", arguments.machine, status.as_str()),
    }
    let config = machine.config()?;
    let stdin = config.open_stdin && !arguments.no_stdin;
    if config.tty && stdin && !io::stdin().is_terminal() {
        bail!("the input device is not a terminal: give --no-stdin, or attach from one");
    }
    let attachment = Attachment {
        terminal: config.tty,
        stdin,
        output: true,
        signals: arguments.sig_proxy,
        detach_keys: arguments.detach_keys.clone(),
        ..Attachment::default()
    };
    match Session::begin(&machine, attachment)?.until_parted()? {
        Parting::Ended(code) => Ok(code),
        _ => Ok(0),
    }
}
