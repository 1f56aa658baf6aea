//! A part of a file that is written from its begin to its end, while others are, too.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that are gathered before they are written.
const WINDOW: usize = 256 << 10;
/// Zeroes that are worth a hole in the file.
const HOLE: u64 = 64 << 10;

pub struct Area<'a> {
    file: &'a File,
    /// Where the window goes.
    at: u64,
    window: Vec<u8>,
}

impl<'a> Area<'a> {
    /// The area that begins that many bytes from the file's begin.
    pub fn new(file: &'a File, at: u64) -> Area<'a> {
        Area { file, at, window: Vec::with_capacity(WINDOW) }
    }

    /// How many bytes from the file's begin the next one goes.
    pub fn position(&self) -> u64 {
        self.at + self.window.len() as u64
    }

    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.window.len() + bytes.len() > WINDOW {
            self.flush()?;
        }
        if bytes.len() >= WINDOW {
            self.file.write_all_at(bytes, self.at)?;
            self.at += bytes.len() as u64;
            return Ok(());
        }
        self.window.extend_from_slice(bytes);
        Ok(())
    }

    /// Leaves so many bytes to the file, which has zeroes there.
    pub fn skip(&mut self, bytes: u64) -> io::Result<()> {
        if bytes < HOLE && self.window.len() as u64 + bytes <= WINDOW as u64 {
            self.window.resize(self.window.len() + bytes as usize, 0);
            return Ok(());
        }
        self.flush()?;
        self.at += bytes;
        Ok(())
    }

    /// Fills up to a multiple of so many bytes.
    pub fn align(&mut self, to: u64) -> io::Result<()> {
        self.skip(self.position().wrapping_neg() % to)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.window, self.at)?;
        self.at += self.window.len() as u64;
        self.window.clear();
        Ok(())
    }
}
