//! What a machine is called by itself.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A machine's identity: twelve hexadecimal digits, as Docker shows containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MachineId(String);

/// Digits of an identity.
const LENGTH: usize = 12;

impl MachineId {
    /// A new random identity.
    pub fn new() -> Result<MachineId> {
        let mut bytes = [0; 6];
        fill_random(&mut bytes)?;
        Ok(MachineId(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// `text` as an identity, if it has the form of one.
    pub fn parse(text: &str) -> Option<MachineId> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == LENGTH && text.bytes().all(digit)).then(|| MachineId(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Fills `bytes` from the kernel's generator.
pub fn fill_random(bytes: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            .context("cannot get random bytes")?;
    }
    Ok(())
}
