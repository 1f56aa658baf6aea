//! `vmrun rm`: machines, with all that they wrote.

use anyhow::{Result, bail};

use super::{each, stop};
use crate::arguments::RmArguments;
use crate::events;
use crate::home::Home;
use crate::machine::Machines;

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
            stop::end(&machine, Some("KILL"), Some(0))?;
        }
        // One that was run with --rm is gone by now.
        if machine.path().exists() {
            let (config, lock) = (machine.config()?, machine.lock()?);
            events::record(home, "destroy", &machine, &config, None);
            machines.remove(&machine, lock)?;
        }
        println!("{name}");
        Ok(())
    })
}
