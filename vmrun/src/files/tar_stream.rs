//! What a machine sends, as a tar archive to be read.

use std::io::{self, Read};

use anyhow::{Context, Result};
use guest_protocol::files::ItemReader;
use guest_protocol::files::stream::Stopped;

use super::Guest;
use super::tar_header::{BLOCK, append, pad};

/// An archive of everything that comes. An answer that is cut or refused is an error, and never an
/// archive's end; what stopped it is then had by [`TarStream::stopped`].
pub struct TarStream<'a, R: Read> {
    from: ItemReader<R>,
    warn: &'a mut dyn FnMut(String),
    /// Headers and padding that were not read yet, and how many bytes of them were.
    pending: Vec<u8>,
    taken: usize,
    /// Of the file whose bytes come now.
    padding: u64,
    ended: bool,
    stopped: Option<Stopped>,
}

impl<'a, R: Read> TarStream<'a, R> {
    pub fn new(from: ItemReader<R>, warn: &'a mut dyn FnMut(String)) -> TarStream<'a, R> {
        let (pending, taken, padding, ended, stopped) = (Vec::new(), 0, 0, false, None);
        TarStream { from, warn, pending, taken, padding, ended, stopped }
    }

    /// How many bytes all files in it have.
    pub fn total(&self) -> u64 {
        self.from.total()
    }

    /// What has become of the archive that was `copied` from this: what the machine says comes first.
    pub fn outcome(self, copied: io::Result<()>, guest: &Guest) -> Result<()> {
        match (self.stopped, copied) {
            (Some(stopped), _) => Err(guest.explain(stopped)),
            (None, copied) => copied.context("cannot write the archive"),
        }
    }

    /// Makes the next headers, or the archive's end, pending.
    fn next(&mut self) -> std::result::Result<(), Stopped> {
        match self.from.entry(self.warn)? {
            Some(entry) => {
                append(&entry, &mut self.pending);
                self.padding = entry.size();
            }
            None => {
                self.pending.resize(2 * BLOCK, 0);
                self.ended = true;
            }
        }
        Ok(())
    }

    fn advance(&mut self, into: &mut [u8]) -> std::result::Result<usize, Stopped> {
        loop {
            if self.taken < self.pending.len() {
                let length = (self.pending.len() - self.taken).min(into.len());
                into[..length].copy_from_slice(&self.pending[self.taken..][..length]);
                self.taken += length;
                return Ok(length);
            }
            self.pending.clear();
            self.taken = 0;
            if self.from.left() > 0 {
                return Ok(self.from.data(into)?);
            }
            if self.padding > 0 {
                pad(std::mem::take(&mut self.padding), &mut self.pending);
            } else if self.ended {
                return Ok(0);
            } else {
                self.next()?;
            }
        }
    }
}

impl<R: Read> Read for TarStream<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        if self.stopped.is_some() {
            return Err(io::Error::other("the archive ended early"));
        }
        self.advance(into).map_err(|stopped| {
            let error = io::Error::other(stopped.to_string());
            self.stopped = Some(stopped);
            error
        })
    }
}

#[cfg(test)]
#[path = "tar_stream_test.rs"]
mod tests;
