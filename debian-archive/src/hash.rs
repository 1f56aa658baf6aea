//! SHA-256 in the form that the archive's indices have it in.

use sha2::{Digest, Sha256};

/// The digest of a document.
pub fn of(content: &[u8]) -> String {
    hex(Sha256::digest(content).as_slice())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a text is a SHA-256: it becomes part of addresses and file names.
pub fn is(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
