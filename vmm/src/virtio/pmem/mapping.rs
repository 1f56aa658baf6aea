//! The host's side of a pmem device: files laid end to end in one range of addresses, read-only.

use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use crate::virtio::block::disk::{self, Part};

/// A mapping's address and its size are multiples of this, 2 MiB: the guest maps the region with huge pages, and
/// Linux takes no persistent memory of a finer grain.
pub const ALIGNMENT: u64 = 2 << 20;
const PAGE: u64 = 4096;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Parts(#[from] disk::Error),
    #[error("cannot reserve {size} bytes of address space for a pmem device")]
    Reserve { size: u64, source: io::Error },
    #[error("cannot map {length} bytes of part {part} of a pmem device")]
    Map { part: usize, length: u64, source: io::Error },
}

/// Parts in one reserved range: each file's pages shared with the host's page cache, zeroes everywhere else, so that
/// no address in the range faults. (Unless someone truncates a file later, which its store never does.)
#[derive(Debug)]
pub struct Mapping {
    reserved: Reservation,
    address: NonNull<u8>,
    size: u64,
}

// SAFETY: the mapping is owned, and nothing is read or written through it here; it is only unmapped on drop.
unsafe impl Send for Mapping {}
// SAFETY: as above; a shared reference only gives out the address.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `parts` one after another and rounds the whole up to [`ALIGNMENT`].
    pub fn new(parts: &[Part]) -> Result<Self, Error> {
        let length = disk::check_parts(parts)?;
        let size = length.max(1).checked_next_multiple_of(ALIGNMENT).ok_or(disk::Error::TooLong)?;
        let reserved = size.checked_add(ALIGNMENT).ok_or(disk::Error::TooLong)?;
        let reserved = Reservation::new(reserved).map_err(|source| Error::Reserve { size, source })?;
        let padding = reserved.address.as_ptr().align_offset(ALIGNMENT as usize);
        // SAFETY: the padding is less than ALIGNMENT, by which the reservation is larger than `size`.
        let address = unsafe { reserved.address.byte_add(padding) };
        let mapping = Self { reserved, address, size };
        let mut start = 0;
        for (index, part) in parts.iter().enumerate() {
            mapping.map_part(index, part, start)?;
            start += part.length;
        }
        Ok(mapping)
    }

    /// The host address of its first byte.
    pub fn address(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    /// Bytes, a multiple of [`ALIGNMENT`].
    pub fn size(&self) -> u64 {
        self.size
    }

    fn map_part(&self, index: usize, part: &Part, start: u64) -> Result<(), Error> {
        let metadata = part.file.metadata().map_err(|source| disk::Error::Size { part: index, source })?;
        let length = metadata.len().min(part.length).next_multiple_of(PAGE);
        if length == 0 {
            return Ok(());
        }
        debug_assert!(start + length <= self.size && self.size < self.reserved.size);
        // SAFETY: `start + length` is at most the sum of the parts' lengths, so what is replaced is part of our own
        // reservation, to which no reference exists.
        let mapped = unsafe {
            libc::mmap64(
                self.address.as_ptr().byte_add(start as usize).cast(),
                length as usize,
                libc::PROT_READ,
                libc::MAP_SHARED | libc::MAP_FIXED,
                part.file.as_raw_fd(),
                0,
            )
        };
        match mapped == libc::MAP_FAILED {
            true => Err(Error::Map { part: index, length, source: io::Error::last_os_error() }),
            false => Ok(()),
        }
    }
}

/// A range of our address space, zeroes at first.
#[derive(Debug)]
struct Reservation {
    address: NonNull<u8>,
    size: u64,
}

impl Reservation {
    fn new(size: u64) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let address =
            unsafe { libc::mmap64(std::ptr::null_mut(), size as usize, libc::PROT_READ, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        match NonNull::new(address.cast()) {
            Some(address) => Ok(Self { address, size }),
            None => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the range is ours, with everything that was mapped over it, and its owner is going away.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.size as usize) };
    }
}

#[cfg(test)]
#[path = "mapping_test.rs"]
mod tests;
