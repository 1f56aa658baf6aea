//! The guest's memory: anonymous, in huge pages where the host has them.
//!
//! With huge pages a guest that touches 100 MiB while it starts costs the host 50 page faults instead of 25,600.

use std::io;

use vm_memory::mmap::MmapRegion;
use vm_memory::{GuestAddress, GuestRegionMmap};

use crate::layout::{self, BLOCK_OF_MEMORY};
use crate::virtio::GuestRam;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reserving {length} bytes of memory for the guest")]
    Reserve { length: u64, source: io::Error },
    #[error("putting {length} bytes of guest memory at {address:#x}")]
    Place { address: u64, length: u64 },
}

/// Reserves `memory` bytes (a multiple of 2 MiB) at the addresses that [`layout::ram`] says.
///
/// The mappings are never undone: they go with the process, which runs one machine.
pub fn allocate(memory: u64) -> Result<GuestRam, Error> {
    let regions = layout::ram(memory).into_iter().map(|(address, length)| {
        let misplaced = || Error::Place { address, length };
        let size = usize::try_from(length).map_err(|_| misplaced())?;
        let host = reserve(size).map_err(|source| Error::Reserve { length, source })?;
        // SAFETY: `host` is the start of `size` bytes of memory that belong to nobody else and stay mapped for as long
        // as the process lives.
        let mapping = unsafe { MmapRegion::build_raw(host, size, libc::PROT_READ | libc::PROT_WRITE, FLAGS) }
            .map_err(|_| misplaced())?;
        GuestRegionMmap::new(mapping, GuestAddress(address)).ok_or_else(misplaced)
    });
    let regions = regions.collect::<Result<Vec<_>, _>>()?;
    GuestRam::from_regions(regions).map_err(|_| Error::Place { address: 0, length: memory })
}

const FLAGS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

/// Maps `size` bytes on a huge page boundary and asks for huge pages.
fn reserve(size: usize) -> io::Result<*mut u8> {
    let boundary = BLOCK_OF_MEMORY as usize;
    let padded = size.checked_add(boundary).ok_or(io::ErrorKind::OutOfMemory)?;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice changes no existing memory.
    let start =
        unsafe { libc::mmap(std::ptr::null_mut(), padded, libc::PROT_READ | libc::PROT_WRITE, FLAGS, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let head = start.align_offset(boundary);
    // SAFETY: head <= boundary, so that head, size and the rest all lie within the mapping made above, of which nobody
    // else knows. What is unmapped is not returned.
    unsafe {
        let aligned = start.add(head);
        if head > 0 {
            libc::munmap(start, head);
        }
        if boundary > head {
            libc::munmap(aligned.add(size), boundary - head);
        }
        // Both are wishes: a host without huge pages, or one that does not dump guests, is as good.
        libc::madvise(aligned, size, libc::MADV_HUGEPAGE);
        libc::madvise(aligned, size, libc::MADV_DONTDUMP);
        Ok(aligned.cast())
    }
}

#[cfg(test)]
mod tests {
    use vm_memory::{Bytes, GuestMemoryBackend};

    use super::*;

    #[test]
    fn memory_beyond_the_gap_is_there_and_aligned() {
        let memory = allocate((3 << 30) + (2 << 20)).unwrap();
        memory.write_obj(7u64, GuestAddress(4 << 30)).unwrap();
        assert_eq!(memory.read_obj::<u64>(GuestAddress(4 << 30)).unwrap(), 7);
        assert!(memory.write_obj(7u64, GuestAddress(3 << 30)).is_err());
        for region in memory.iter() {
            assert_eq!(region.get_mmap().as_ptr().align_offset(2 << 20), 0);
        }
    }
}
