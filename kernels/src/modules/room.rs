//! Compressed modules are small, and what they unpack to may be anything.

use super::Error;

/// Room for so many bytes of modules and no more.
pub struct Room {
    what: &'static str,
    limit: u64,
    left: u64,
}

impl Room {
    /// For `limit` bytes of `what`.
    pub fn new(what: &'static str, limit: u64) -> Room {
        Room { what, limit, left: limit }
    }

    /// Takes of it what `content` needs.
    pub fn take(&mut self, content: &[u8]) -> Result<(), Error> {
        let left = self.left.checked_sub(content.len() as u64);
        self.left = left.ok_or(Error::Large { what: self.what, limit: self.limit })?;
        Ok(())
    }
}
