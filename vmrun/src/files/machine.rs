//! The machine whose files are wanted.

use anyhow::{Result, bail};

use super::Guest;
use crate::home::Home;
use crate::machine::{MachineConfig, Machines};

/// A machine that answers for as long as this lives.
pub struct OpenMachine {
    pub guest: Guest,
    /// What it is.
    pub config: MachineConfig,
}

impl OpenMachine {
    /// Finds the machine that `word` names.
    pub fn open(home: &Home, word: &str) -> Result<OpenMachine> {
        let machine = Machines::open(home).find(word)?;
        let status = machine.state()?.status;
        if !status.is_attended() {
            bail!("machine {word} does not run, it is {}", status.as_str());
        }
        let socket = machine.vsock_socket()?;
        Ok(OpenMachine { guest: Guest::new(&socket), config: machine.config()? })
    }
}
