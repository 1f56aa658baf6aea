//! Readers that digest what they pass on.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::provenance::hex;

pub struct Digested<R> {
    inner: R,
    digest: Sha256,
}

impl<R: Read> Digested<R> {
    pub fn new(inner: R) -> Digested<R> {
        Digested { inner, digest: Sha256::new() }
    }

    /// The SHA-256 of all that has passed.
    pub fn digest(self) -> String {
        hex(self.digest.finalize().as_slice())
    }
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.digest.update(&buffer[..read]);
        Ok(read)
    }
}
