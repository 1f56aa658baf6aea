//! `vmrun restart`: machines stopped and started again.

use anyhow::{Result, bail};

use super::create::check_kvm;
use super::{each, start, stop};
use crate::arguments::StopArguments;
use crate::home::Home;
use crate::machine::Machines;
use crate::output::say;

pub fn restart(home: &Home, arguments: &StopArguments) -> Result<u8> {
    check_kvm()?;
    each(&arguments.machines, |name| {
        let machine = Machines::open(home).find(name)?;
        stop::end(&machine, arguments.signal.as_deref(), arguments.time, true)?;
        if !machine.path().exists() {
            bail!("machine {name} ended by itself just before, and is gone: it was run with --rm");
        }
        start::begin(home, &machine)?;
        say(name)?;
        Ok(())
    })
}
