//! The byte stream under a tar reader: blocks, skips and where we are.

use super::Problem;
use std::io::{self, BufRead};

/// The unit in which tar archives are laid out.
pub const BLOCK: usize = 512;

/// A buffered stream that counts what was taken from it.
pub struct Source<R> {
    stream: R,
    position: u64,
}

impl<R: BufRead> Source<R> {
    pub fn new(stream: R) -> Source<R> {
        Source { stream, position: 0 }
    }

    /// Bytes taken so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What can be had without a copy; empty at the end of the stream.
    pub fn chunk(&mut self) -> io::Result<&[u8]> {
        loop {
            match self.stream.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
        }
        self.stream.fill_buf()
    }

    pub fn consume(&mut self, bytes: usize) {
        self.stream.consume(bytes);
        self.position += bytes as u64;
    }

    /// Fills `buffer` as far as the stream goes; how far is returned.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                break;
            }
            let take = chunk.len().min(buffer.len() - done);
            buffer[done..done + take].copy_from_slice(&chunk[..take]);
            self.consume(take);
            done += take;
        }
        Ok(done)
    }

    /// Fills `buffer` wholly.
    pub fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), Problem> {
        match self.read(buffer)? {
            done if done == buffer.len() => Ok(()),
            _ => Err(Problem::Truncated),
        }
    }

    pub fn skip(&mut self, mut bytes: u64) -> Result<(), Problem> {
        while bytes > 0 {
            let chunk = self.chunk()?.len();
            if chunk == 0 {
                return Err(Problem::Truncated);
            }
            let take = bytes.min(chunk as u64);
            self.consume(take as usize);
            bytes -= take;
        }
        Ok(())
    }

    /// Takes all that is left, so that whoever digests the stream has seen all of it.
    pub fn drain(&mut self) -> io::Result<()> {
        loop {
            match self.chunk()?.len() {
                0 => return Ok(()),
                bytes => self.consume(bytes),
            }
        }
    }
}
