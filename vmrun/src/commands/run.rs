//! `vmrun run`: an image's command in a machine of its own.

use std::io::{self, IsTerminal};

use anyhow::{Result, bail};

use super::create::{check_kvm, make};
use crate::arguments::RunArguments;
use crate::client::{Attachment, Parting, Session, launch};
use crate::home::Home;
use crate::machine::{MachineDirectory, Machines, Timing, monotonic_time};
use crate::output::say;

pub fn run(home: &Home, run: &RunArguments) -> Result<u8> {
    let begun = monotonic_time();
    let arguments = &run.machine;
    let foreground = !run.detach;
    if foreground && arguments.tty && arguments.interactive && !io::stdin().is_terminal() {
        bail!("the input device is not a terminal: leave out -t, or run from one");
    }
    check_kvm()?;
    let (machine, config) = make(home, arguments)?;
    if let Err(error) = launch(home, &machine) {
        if config.remove {
            discard(home, &machine);
        }
        return Err(error);
    }
    let verbose =
        || format!("vmrun: machine {} of {} on kernel {}", config.id.as_str(), config.image, config.kernel);
    let attachment = Attachment {
        terminal: arguments.tty,
        stdin: foreground && arguments.interactive,
        output: foreground,
        signals: foreground && run.sig_proxy,
        detach_keys: run.detach_keys.clone(),
        verbose: run.verbose.then(verbose),
        timing: run.timing.then(|| Timing::new(begun)),
    };
    let session = Session::begin(&machine, attachment)?;
    let parting = if foreground { session.until_parted()? } else { session.until_started()? };
    match parting {
        Parting::Ended(code) if foreground || code != 0 => Ok(code),
        _ => {
            if run.detach {
                say(machine.id().as_str())?;
            }
            Ok(0)
        }
    }
}

/// Removes a machine that has never had a supervisor, which would do that.
fn discard(home: &Home, machine: &MachineDirectory) {
    if machine.path().exists()
        && let Ok(lock) = machine.lock()
    {
        // What is left of it is listed.
        let _ = Machines::open(home).remove(machine, lock);
    }
}
