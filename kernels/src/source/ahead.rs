//! A package's files, unpacked by one thread while another writes and digests them.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::Error;
use super::package_files::damaged;
use crate::compression;

/// How much is unpacked at once, in bytes, and how many times that may be ready.
const BLOCK: u64 = 256 << 10;
const READY: usize = 8;

/// Gives `take` what `packed` unpacks to, whatever its compression. It need not take all of it.
pub fn unpacked<T>(
    packed: impl Read + Send,
    take: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
) -> Result<T, Error> {
    thread::scope(|scope| {
        let (sender, ready) = sync_channel(READY);
        thread::Builder::new()
            .spawn_scoped(scope, move || {
                if let Err(error) = unpack(packed, &sender) {
                    // Unless nobody wants it any more.
                    let _ = sender.send(Err(error));
                }
            })
            .map_err(Error::Read)?;
        take(&mut Blocks { ready, block: io::Cursor::default() })
    })
}

fn unpack(packed: impl Read, ready: &SyncSender<io::Result<Vec<u8>>>) -> io::Result<()> {
    let mut unpacked = compression::whole_reader(packed)?;
    loop {
        let mut block = Vec::with_capacity(BLOCK as usize);
        let read = unpacked.by_ref().take(BLOCK).read_to_end(&mut block);
        // What was unpacked before an error counts.
        if (!block.is_empty() && ready.send(Ok(block)).is_err()) || read? == 0 {
            return Ok(());
        }
    }
}

struct Blocks {
    ready: Receiver<io::Result<Vec<u8>>>,
    block: io::Cursor<Vec<u8>>,
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.block.position() == self.block.get_ref().len() as u64 {
            match self.ready.recv() {
                Ok(block) => self.block = io::Cursor::new(block?),
                Err(_) => return Ok(0),
            }
        }
        self.block.read(buffer)
    }
}

/// Takes all that is left: the last checksum is at the very end.
pub fn to_the_end(unpacked: &mut impl Read) -> Result<(), Error> {
    io::copy(unpacked, &mut io::sink()).map(drop).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zstd(content: &[u8]) -> Vec<u8> {
        zstd::encode_all(content, 1).unwrap()
    }

    #[test]
    fn what_comes_out_is_what_went_in_as_far_as_it_is_taken() {
        let content: Vec<u8> =
            (0..5_000_000_u32).flat_map(|number| number.to_le_bytes()).take(9 << 20).collect();
        for length in [0, 1, 256 << 10, (256 << 10) + 1, content.len()] {
            let mut taken = Vec::new();
            unpacked(&zstd(&content[..length])[..], |all| {
                all.read_to_end(&mut taken).map(drop).map_err(Error::Read)
            })
            .unwrap();
            assert!(taken == content[..length], "{length}");
        }
        let mut first = [0; 4];
        unpacked(&zstd(&content)[..], |all| all.read_exact(&mut first).map_err(Error::Read)).unwrap();
        assert_eq!(first, content[..4]);
    }

    #[test]
    fn a_cut_is_an_error_after_what_came_before_it() {
        let content = vec![7; 4 << 20];
        let packed = crate::fixtures::tool("xz", &["-0"], &content);
        let mut taken = Vec::new();
        let cut = unpacked(&packed[..packed.len() - 8], |all| {
            all.read_to_end(&mut taken).map(drop).map_err(Error::Read)
        });
        assert!(matches!(cut, Err(Error::Read(_))));
        assert_eq!(taken, content);
    }
}
