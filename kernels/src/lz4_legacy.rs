//! The legacy LZ4 frame (lz4_Frame_format.md, "Legacy frame"): blocks of at most 8 MiB, each led
//! by its compressed size, with nothing to mark the end.

use std::io::{self, BufRead, Read};

use crate::compression::read_start;

const BLOCK: usize = 8 << 20;
/// The most that 8 MiB can take when it does not compress.
const LARGEST_COMPRESSED: usize = BLOCK + BLOCK / 255 + 16;

pub struct Decoder<R> {
    from: R,
    block: Vec<u8>,
    position: usize,
    ended: bool,
}

impl<R: BufRead> Decoder<R> {
    /// `from` begins with the magic number.
    pub fn new(mut from: R) -> io::Result<Decoder<R>> {
        from.read_exact(&mut [0; 4])?;
        Ok(Decoder { from, block: Vec::new(), position: 0, ended: false })
    }

    fn next_block(&mut self) -> io::Result<()> {
        self.position = 0;
        // Every block but the last is full, so a short one says that the stream has ended; a
        // payload's trailing size, which would read as one more block's, is never reached.
        if self.ended || (!self.block.is_empty() && self.block.len() < BLOCK) {
            return self.end();
        }
        let mut length = [0; 4];
        match read_start(&mut self.from, &mut length)? {
            0 => return self.end(),
            4 => {}
            _ => return Err(invalid("an lz4 block's size is cut off")),
        }
        let length = u32::from_le_bytes(length) as usize;
        if self.from.fill_buf()?.is_empty() && !self.block.is_empty() {
            return self.end();
        }
        if length > LARGEST_COMPRESSED {
            return Err(invalid("an lz4 block is larger than the format allows"));
        }
        let mut compressed = Vec::new();
        (&mut self.from).take(length as u64).read_to_end(&mut compressed)?;
        if compressed.len() < length {
            return Err(invalid("an lz4 block is cut off"));
        }
        self.block.resize(BLOCK, 0);
        let size = lz4_flex::block::decompress_into(&compressed, &mut self.block)
            .map_err(|error| invalid(&format!("a damaged lz4 block: {error}")))?;
        self.block.truncate(size);
        if size == 0 { self.end() } else { Ok(()) }
    }

    fn end(&mut self) -> io::Result<()> {
        self.ended = true;
        self.block.clear();
        Ok(())
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.block.len() {
            self.next_block()?;
        }
        let read = (&self.block[self.position..]).read(buffer)?;
        self.position += read;
        Ok(read)
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
