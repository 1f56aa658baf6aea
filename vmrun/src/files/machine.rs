//! The machine whose files are wanted.

use anyhow::{Result, bail};

use super::Guest;
use crate::home::{self, Home};

/// A machine that answers for as long as this lives.
pub struct OpenMachine {
    pub guest: Guest,
}

impl OpenMachine {
    /// Finds the machine that `word` names.
    pub fn open(_home: &Home, word: &str) -> Result<OpenMachine> {
        let socket = home::runtime_directory().join(word).join("vsock.sock");
        if word.contains('/') || !socket.exists() {
            bail!("no such machine: {word}");
        }
        Ok(OpenMachine { guest: Guest::new(&socket) })
    }
}
