//! `vmrun rm`: machines, with all that they wrote.

use anyhow::{Result, bail};

use super::{agreed, each, stop};
use crate::arguments::{ContainerPruneArguments, RmArguments};
use crate::events;
use crate::home::Home;
use crate::machine::Machines;
use crate::output::{complain, say};
use crate::size;

/// Removes all machines that do not run.
pub fn prune(home: &Home, arguments: &ContainerPruneArguments) -> Result<u8> {
    if !arguments.force && !agreed("This removes every machine that does not run, with all that it wrote.")? {
        return Ok(0);
    }
    let machines = Machines::open(home);
    machines.sweep()?;
    let (mut reclaimed, mut code) = (0, 0);
    for machine in machines.list()?.into_iter().filter(|machine| !machine.is_running()) {
        let size = machine.directory.upper_size();
        let removed = machine.directory.lock().and_then(|lock| {
            events::record(home, "destroy", &machine.directory, &machine.config, None);
            machines.remove(&machine.directory, lock)?;
            reclaimed += size;
            say(machine.config.id.as_str())
        });
        match removed {
            // Somebody else has removed it.
            Err(_) if !machine.directory.path().exists() => {}
            Err(error) => {
                complain(&error);
                code = crate::FAILED;
            }
            Ok(()) => {}
        }
    }
    say(format_args!("Total reclaimed space: {}", size::show(reclaimed)))?;
    Ok(code)
}

pub fn rm(home: &Home, arguments: &RmArguments) -> Result<u8> {
    let machines = Machines::open(home);
    machines.sweep()?;
    each(&arguments.machines, |name| {
        let machine = machines.find(name)?;
        let status = machine.state()?.status;
        if status.is_attended() {
            if !arguments.force {
                bail!("machine {name} is {}: stop it first, or remove it with -f", status.as_str());
            }
            stop::end(&machine, Some("KILL"), Some(0), false)?;
        }
        // One that was run with --rm is gone by now.
        if machine.path().exists() {
            let lock = machine.lock()?;
            // A record that is damaged can still go.
            if let Ok(config) = machine.config() {
                events::record(home, "destroy", &machine, &config, None);
            }
            machines.remove(&machine, lock)?;
        }
        say(name)?;
        Ok(())
    })
}
