//! The host's side of a pmem device: files laid end to end in one range of addresses, read-only; the host's own pages
//! of these files, or a private copy.

use std::io;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use super::copy;
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
    #[error("cannot copy part {part} of a disk into memory")]
    Copy { part: usize, source: io::Error },
    #[error("cannot change how {size} bytes of memory may be used")]
    Protect { size: u64, source: io::Error },
}

/// Parts in one reserved range: each file's pages shared with the host's page cache, zeroes everywhere else, so that
/// no address in the range faults. (Unless someone truncates a file later, which its store never does: then KVM_RUN
/// fails on the guest's next use of the lost pages.)
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
    pub fn shared(parts: &[Part]) -> Result<Self, Error> {
        let mapping = Self::zeroes(parts)?;
        let mut start = 0;
        for (index, part) in parts.iter().enumerate() {
            mapping.map_part(index, part, start)?;
            start += part.length;
        }
        Ok(mapping)
    }

    /// Zeroes, as many as `parts` are long, rounded up to [`ALIGNMENT`].
    fn zeroes(parts: &[Part]) -> Result<Self, Error> {
        let length = disk::check_parts(parts)?;
        let size = length.max(1).checked_next_multiple_of(ALIGNMENT).ok_or(disk::Error::TooLong)?;
        let reserved = size.checked_add(ALIGNMENT).ok_or(disk::Error::TooLong)?;
        let reserved = Reservation::new(reserved).map_err(|source| Error::Reserve { size, source })?;
        let padding = reserved.address.as_ptr().align_offset(ALIGNMENT as usize);
        // SAFETY: the padding is less than ALIGNMENT, by which the reservation is larger than `size`.
        let address = unsafe { reserved.address.byte_add(padding) };
        Ok(Self { reserved, address, size })
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

    fn protect(&self, protection: i32) -> Result<(), Error> {
        // SAFETY: the range is our own reservation, to which no reference exists yet.
        let done = unsafe { libc::mprotect(self.address.as_ptr().cast(), self.size as usize, protection) };
        if done == 0 {
            return Ok(());
        }
        Err(Error::Protect { size: self.size, source: io::Error::last_os_error() })
    }
}

/// The parts' bytes in anonymous memory that no other process has, and that never change again. What is zero in them
/// takes no memory.
#[derive(Debug)]
pub struct PrivateCopy {
    mapping: Mapping,
    length: u64,
}

impl PrivateCopy {
    /// Reads `parts`, one after another, past the host's page cache where their file system can.
    pub fn new(parts: &[Part]) -> Result<Self, Error> {
        let mapping = Mapping::zeroes(parts)?;
        mapping.protect(libc::PROT_READ | libc::PROT_WRITE)?;
        for advice in [libc::MADV_NOHUGEPAGE, libc::MADV_UNMERGEABLE, libc::MADV_DONTDUMP] {
            // Huge pages would fill what is zero; merging would share the pages again. A host that has neither refuses.
            // SAFETY: none of these changes what is in the range, which is ours.
            unsafe { libc::madvise(mapping.address().cast(), mapping.size as usize, advice) };
        }
        let mut start = 0;
        for (index, part) in parts.iter().enumerate() {
            copy::for_each_page(&part.file, part.length, |offset, page| {
                // SAFETY: `offset + page.len()` is at most the part's length, so what is written is part of our own
                // reservation, writable now, to which no reference exists.
                unsafe {
                    let to = mapping.address().add((start + offset) as usize);
                    std::ptr::copy_nonoverlapping(page.as_ptr(), to, page.len());
                }
            })
            .map_err(|source| Error::Copy { part: index, source })?;
            start += part.length;
        }
        mapping.protect(libc::PROT_READ)?;
        Ok(Self { mapping, length: start })
    }

    /// The parts' own length in bytes; what is behind it is zero.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// As memory to show to a guest.
    pub fn into_mapping(self) -> Mapping {
        self.mapping
    }
}

impl Deref for PrivateCopy {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the whole range is readable, and nothing writes to it any more: it is anonymous, private, and
        // read-only for us and for the guest.
        unsafe { std::slice::from_raw_parts(self.mapping.address(), self.mapping.size as usize) }
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
