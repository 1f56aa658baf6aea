//! Writing a layer's data file: one sequential stream of 4 KiB blocks.

use super::Error;
use crate::erofs::format::BLOCK;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use xxhash_rust::xxh3::Xxh3Default;

/// Bytes that are gathered before they are written. Small enough for the processor's cache: they are written
/// and digested soon after.
const WINDOW: usize = 512 << 10;
/// A run of zeroes that is worth a hole in the file.
const HOLE: u64 = 64 << 10;

/// A data file that is being written from begin to end.
pub struct DataFile {
    file: File,
    /// Bytes before the window, written or holes.
    written: u64,
    window: Vec<u8>,
    digest: Box<Xxh3Default>,
    limit: u64,
}

impl DataFile {
    pub fn new(file: File, limit: u64) -> DataFile {
        DataFile {
            file,
            written: 0,
            window: Vec::with_capacity(WINDOW),
            digest: Box::new(Xxh3Default::new()),
            limit,
        }
    }

    fn position(&self) -> u64 {
        self.written + self.window.len() as u64
    }

    /// The number of the block that the next byte begins.
    pub fn block(&mut self) -> Result<u32, Error> {
        let padding = self.position().wrapping_neg() % BLOCK as u64;
        self.zeroes(padding)?;
        u32::try_from(self.position() / BLOCK as u64).map_err(|_| Error::TooLarge { limit: self.limit })
    }

    pub fn append(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = WINDOW - self.window.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.window.extend_from_slice(now);
            if self.window.len() == WINDOW {
                self.flush()?;
            }
            bytes = later;
        }
        Ok(())
    }

    pub fn zeroes(&mut self, mut bytes: u64) -> Result<(), Error> {
        if bytes >= HOLE {
            self.flush()?;
            const ZEROES: &[u8] = &[0; HOLE as usize];
            self.check(bytes)?;
            self.written += bytes;
            while bytes > 0 {
                let now = bytes.min(HOLE);
                self.digest.update(&ZEROES[..now as usize]);
                bytes -= now;
            }
            return Ok(());
        }
        let room = (WINDOW - self.window.len()) as u64;
        let now = bytes.min(room);
        self.window.resize(self.window.len() + now as usize, 0);
        if self.window.len() == WINDOW {
            self.flush()?;
        }
        self.window.resize(self.window.len() + (bytes - now) as usize, 0);
        Ok(())
    }

    fn check(&self, more: u64) -> Result<(), Error> {
        match self.written.checked_add(more) {
            Some(bytes) if bytes <= self.limit => Ok(()),
            _ => Err(Error::TooLarge { limit: self.limit }),
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.check(self.window.len() as u64)?;
        self.file.write_all_at(&self.window, self.written).map_err(write_error)?;
        self.digest.update(&self.window);
        self.written += self.window.len() as u64;
        self.window.clear();
        Ok(())
    }

    /// Fills up the last block; length and digest of the file are returned.
    pub fn finish(mut self) -> Result<(u64, [u8; 16]), Error> {
        self.block()?;
        self.flush()?;
        self.file.set_len(self.written).map_err(write_error)?;
        Ok((self.written, self.digest.digest128().to_be_bytes()))
    }
}

fn write_error(source: io::Error) -> Error {
    Error::Write { what: "data file", source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use xxhash_rust::xxh3::xxh3_128;

    #[test]
    fn bytes_and_holes_come_out_where_they_should() {
        let mut file = tempfile::tempfile().unwrap();
        let mut data = DataFile::new(file.try_clone().unwrap(), 1 << 30);
        let mut expected = Vec::new();
        for (index, length) in [1usize, 4095, 700_000, 0, 65_536, 3, 1 << 20].into_iter().enumerate() {
            assert_eq!(data.block().unwrap() as usize, expected.len().div_ceil(BLOCK));
            expected.resize(expected.len().next_multiple_of(BLOCK), 0);
            data.append(&vec![index as u8 + 1; length]).unwrap();
            expected.resize(expected.len() + length, index as u8 + 1);
            data.zeroes(length as u64 * 3).unwrap();
            expected.resize(expected.len() + length * 3, 0);
        }
        let (length, digest) = data.finish().unwrap();
        expected.resize(expected.len().next_multiple_of(BLOCK), 0);
        let mut written = Vec::new();
        file.read_to_end(&mut written).unwrap();
        assert!(written == expected);
        assert_eq!(length, expected.len() as u64);
        assert_eq!(digest, xxh3_128(&expected).to_be_bytes());
    }

    #[test]
    fn the_limit_holds() {
        let mut data = DataFile::new(tempfile::tempfile().unwrap(), 1 << 20);
        assert!(matches!(data.zeroes(u64::MAX), Err(Error::TooLarge { .. })));
        let result = (0..100).try_for_each(|_| data.append(&[1; 65_536]));
        assert!(matches!(result, Err(Error::TooLarge { .. })));
    }
}
