//! The machine whose files are wanted.

use anyhow::{Result, bail};

use super::Guest;
use crate::home::Home;
use crate::machine::{HelperMachine, MachineConfig, Machines, UpperConfig};

/// A machine that answers for as long as this lives: itself if it runs, else a helper.
pub struct OpenMachine {
    pub guest: Guest,
    /// What it is.
    pub config: MachineConfig,
    helper: Option<HelperMachine>,
}

impl OpenMachine {
    /// Finds the machine that `word` names.
    pub fn open(home: &Home, word: &str) -> Result<OpenMachine> {
        let machine = Machines::open(home).find(word)?;
        let config = machine.config()?;
        if machine.state()?.status.is_attended() {
            let guest = Guest::new(&machine.vsock_socket()?);
            return Ok(OpenMachine { guest, config, helper: None });
        }
        if config.upper == UpperConfig::Memory {
            bail!("machine {word} does not run, and its files were in memory (--tmpfs-root): they are gone");
        }
        let helper = HelperMachine::start(home, &machine)?;
        Ok(OpenMachine { guest: Guest::new(helper.socket()), config, helper: Some(helper) })
    }

    /// Whether its own processes run.
    pub fn is_running(&self) -> bool {
        self.helper.is_none()
    }

    /// Sees that what was written lasts as the machine's own writes do.
    pub fn finish(self) -> Result<()> {
        self.helper.map_or(Ok(()), HelperMachine::finish)
    }
}
