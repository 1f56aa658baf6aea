//! The signature that a distribution appends to its modules.
//!
//! Checking one costs a stock kernel more than all else about loading a module. What a machine
//! loads was taken from the package by vmrun itself and never left its store, so the signature
//! proves nothing more there; a kernel that insists on signatures gets its modules as they are.

use serde::{Deserialize, Serialize};

/// Whether the modules of an archive keep their signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signatures {
    /// The modules as they were shipped.
    Kept,
    /// Without signatures: faster, and the kernel notes that it is tainted (`E`).
    Dropped,
}

/// What a signed module ends with (Linux, include/linux/module_signature.h).
const MAGIC: &[u8] = b"~Module signature appended~\n";

/// The structure before the magic; its last four bytes are the signature's length, big-endian.
const TRAILER: usize = 12;

/// The module without its signature; as it is when it has none, or one that makes no sense.
pub fn without_signature(module: &[u8]) -> &[u8] {
    let stripped = || {
        let (rest, trailer) = module.strip_suffix(MAGIC)?.split_last_chunk::<TRAILER>()?;
        let length = u32::from_be_bytes(*trailer.last_chunk::<4>()?) as usize;
        rest.get(..rest.len().checked_sub(length)?)
    };
    stripped().unwrap_or(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(content: &[u8], length: u32) -> Vec<u8> {
        [content, b"SIGNATURE", &[0; 8], &length.to_be_bytes(), MAGIC].concat()
    }

    #[test]
    fn a_signature_goes_and_nothing_else() {
        assert_eq!(without_signature(&signed(b"code", 9)), b"code");
        assert_eq!(without_signature(b"code"), b"code");
        assert_eq!(without_signature(MAGIC), MAGIC);
    }

    #[test]
    fn a_length_beyond_the_file_is_not_believed() {
        let module = signed(b"code", u32::MAX);
        assert_eq!(without_signature(&module), module);
    }
}
