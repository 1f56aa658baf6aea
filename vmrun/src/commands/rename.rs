//! `vmrun rename`: another name for a machine.

use anyhow::Result;

use crate::arguments::RenameArguments;
use crate::events;
use crate::home::Home;
use crate::machine::Machines;

pub fn rename(home: &Home, arguments: &RenameArguments) -> Result<u8> {
    let machines = Machines::open(home);
    let machine = machines.find(&arguments.machine)?;
    machines.rename(&machine, &arguments.name)?;
    events::record(home, "rename", &machine, &machine.config()?, None);
    Ok(0)
}
