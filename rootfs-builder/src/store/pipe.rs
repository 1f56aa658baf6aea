//! Blocks of bytes from one thread to the next, with a bound on how many are under way.
//!
//! Buffers go round: the reader hands each one back when it is done with it, so that a layer of any size is
//! read with the same few of them.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes of one buffer.
pub const BLOCK: usize = 256 << 10;
/// Buffers of one pipe.
const BLOCKS: usize = 8;

/// The writing end. Dropped without [`PipeWriter::finish`], the reader sees an error instead of the end.
pub struct PipeWriter {
    full: SyncSender<Option<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
}

type OnBlock<'a> = dyn FnMut(&[u8]) + Send + 'a;

/// The reading end.
pub struct PipeReader<'a> {
    full: Receiver<Option<Vec<u8>>>,
    empty: SyncSender<Vec<u8>>,
    block: Vec<u8>,
    position: usize,
    ended: bool,
    on_block: Box<OnBlock<'a>>,
}

/// `on_block` sees every block once, in order, as it is taken out of the pipe.
pub fn pipe<'a>(on_block: impl FnMut(&[u8]) + Send + 'a) -> (PipeWriter, PipeReader<'a>) {
    // One more than there are blocks: the mark of the end has to fit too.
    let (full_in, full_out) = sync_channel(BLOCKS + 1);
    let (empty_in, empty_out) = sync_channel(BLOCKS);
    for _ in 0..BLOCKS {
        let _ = empty_in.try_send(Vec::new());
    }
    let writer = PipeWriter { full: full_in, empty: empty_out };
    let reader = PipeReader {
        full: full_out,
        empty: empty_in,
        block: Vec::new(),
        position: 0,
        ended: false,
        on_block: Box::new(on_block),
    };
    (writer, reader)
}

fn broken() -> io::Error {
    io::Error::from(io::ErrorKind::BrokenPipe)
}

impl PipeWriter {
    /// A buffer of [`BLOCK`] bytes to fill. Waits for the reader when all are under way; fails with
    /// `BrokenPipe` when there is no reader any more.
    pub fn buffer(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = self.empty.recv().map_err(|_| broken())?;
        buffer.resize(BLOCK, 0);
        Ok(buffer)
    }

    /// Sends the first `length` bytes of a buffer.
    pub fn send(&mut self, mut buffer: Vec<u8>, length: usize) -> io::Result<()> {
        buffer.truncate(length);
        self.full.send(Some(buffer)).map_err(|_| broken())
    }

    /// Says that this was all.
    pub fn finish(self) -> io::Result<()> {
        self.full.send(None).map_err(|_| broken())
    }
}

/// Reads until the buffer is full or the source has ended.
pub fn read_full(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl BufRead for PipeReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.position == self.block.len() && !self.ended {
            match self.full.recv() {
                Ok(Some(block)) => {
                    let done = std::mem::replace(&mut self.block, block);
                    self.position = 0;
                    // The first block replaces no buffer of the pipe; a writer that is gone needs none.
                    if done.capacity() > 0 {
                        let _ = self.empty.try_send(done);
                    }
                    (self.on_block)(&self.block);
                }
                Ok(None) => self.ended = true,
                Err(_) => return Err(broken()),
            }
        }
        Ok(&self.block[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position += amount;
    }
}

impl Read for PipeReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(out.len());
        out[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl PipeReader<'_> {
    /// Reads what is left, for the sake of `on_block`.
    pub fn drain(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send_all(writer: &mut PipeWriter, source: &mut dyn Read) -> io::Result<()> {
        loop {
            let mut buffer = writer.buffer()?;
            match read_full(source, &mut buffer)? {
                0 => return Ok(()),
                length => writer.send(buffer, length)?,
            }
        }
    }

    #[test]
    fn more_bytes_than_there_are_buffers_arrive_whole() {
        let sent: Vec<u8> = (0..(BLOCKS * 3 * BLOCK + 77)).map(|i| (i / 7) as u8).collect();
        let mut seen = 0;
        let mut received = Vec::new();
        {
            let (mut writer, mut reader) = pipe(|block| seen += block.len());
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    send_all(&mut writer, &mut sent.as_slice()).expect("sends");
                    writer.finish().expect("ends");
                });
                reader.read_to_end(&mut received).expect("reads");
            });
        }
        assert!(received == sent);
        assert_eq!(seen, sent.len());
    }

    #[test]
    fn an_end_that_was_not_said_is_an_error() {
        let (mut writer, mut reader) = pipe(|_| {});
        let buffer = writer.buffer().expect("a buffer");
        writer.send(buffer, 5).expect("sends");
        drop(writer);
        let mut received = Vec::new();
        assert_eq!(reader.read_to_end(&mut received).expect_err("cut").kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(received.len(), 5);
    }

    #[test]
    fn a_writer_without_a_reader_is_told() {
        let (mut writer, reader) = pipe(|_| {});
        drop(reader);
        let error = send_all(&mut writer, &mut io::repeat(1)).expect_err("no reader");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
