//! Reading a file without its holes.
//!
//! A quarter of a kernel file is zeroes that the kernel wants in memory, and fresh guest memory is zero. Where the file
//! is stored sparsely, nothing has to be copied for them.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;

use vm_memory::bitmap::BitmapSlice;
use vm_memory::{ReadVolatile, VolatileMemoryError, VolatileSlice};

/// A file whose holes are not read. Reading into guest memory is only right where that still holds zeroes.
pub struct SparseFile<'a> {
    file: &'a File,
    position: u64,
    length: u64,
}

impl<'a> SparseFile<'a> {
    /// Reads from byte `position` on.
    pub fn new(file: &'a File, position: u64) -> io::Result<Self> {
        Ok(Self { file, position, length: file.metadata()?.len() })
    }

    /// The next position from here on that is a hole or data, as `whence` says. Where the file system cannot tell,
    /// everything is data.
    fn next(&self, whence: i32) -> u64 {
        // SAFETY: the descriptor is open and only its offset changes, which we do not use.
        let found = unsafe { libc::lseek(self.file.as_raw_fd(), self.position as libc::off_t, whence) };
        match u64::try_from(found) {
            Ok(found) => found,
            Err(_) if whence == libc::SEEK_HOLE => self.length,
            // ENXIO: there is only a hole up to the end.
            Err(_) if io::Error::last_os_error().raw_os_error() == Some(libc::ENXIO) => self.length,
            Err(_) => self.position,
        }
    }
}

impl ReadVolatile for SparseFile<'_> {
    /// Goes on until `buffer` is full or the file ends: guest memory takes a short read for an error.
    fn read_volatile<B: BitmapSlice>(
        &mut self,
        buffer: &mut VolatileSlice<B>,
    ) -> Result<usize, VolatileMemoryError> {
        let mut done = 0;
        while done < buffer.len() {
            let count = self.read_piece(&mut buffer.offset(done)?)?;
            if count == 0 {
                break;
            }
            self.position += count as u64;
            done += count;
        }
        Ok(done)
    }
}

impl SparseFile<'_> {
    /// Reads up to the end of the data that begins here, or skips the hole that does.
    fn read_piece<B: BitmapSlice>(&self, room: &mut VolatileSlice<B>) -> Result<usize, VolatileMemoryError> {
        let until = |end: u64| {
            let distance = usize::try_from(end.saturating_sub(self.position)).unwrap_or(usize::MAX);
            distance.min(room.len())
        };
        let data = self.next(libc::SEEK_DATA);
        if data > self.position {
            return Ok(until(data));
        }
        let mut piece = room.subslice(0, until(self.next(libc::SEEK_HOLE)))?;
        let mut file = self.file;
        file.seek(SeekFrom::Start(self.position)).map_err(VolatileMemoryError::IOError)?;
        file.read_volatile(&mut piece)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use vm_memory::{Bytes, GuestAddress};

    use super::*;
    use crate::memory;

    #[test]
    fn holes_are_skipped_and_data_is_read() {
        let path = std::env::temp_dir().join(format!("vmm-sparse-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write_all_at(b"begin", 0).unwrap();
        file.write_all_at(b"middle", 1 << 20).unwrap();
        file.set_len(3 << 20).unwrap();

        let memory = memory::allocate(4 << 20).unwrap();
        let mut sparse = SparseFile::new(&file, 0).unwrap();
        memory.read_exact_volatile_from(GuestAddress(0), &mut sparse, 3 << 20).unwrap();
        let mut expected = vec![0; 3 << 20];
        file.read_exact_at(&mut expected, 0).unwrap();
        let mut got = vec![0xff; 3 << 20];
        memory.read_slice(&mut got, GuestAddress(0)).unwrap();
        assert!(got == expected);
        assert!(memory.read_exact_volatile_from(GuestAddress(0), &mut sparse, 1).is_err());
    }
}
