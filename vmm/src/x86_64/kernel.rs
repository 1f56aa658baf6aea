//! Putting a kernel into guest memory.

use std::fs::File;
use std::ops::Range;

use vm_memory::{Bytes, GuestAddress};
use vmlinux::Vmlinux;

use super::kaslr::{self, Displacement};
use super::sparse::SparseFile;
use crate::layout::GAP_START;
use crate::virtio::GuestRam;

pub use vmlinux::Entry;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Vmlinux(#[from] vmlinux::Error),
    #[error("needs memory up to {needed} MiB, the machine has {available} MiB")]
    Memory { needed: u64, available: u64 },
    #[error("reading it")]
    Read(#[source] std::io::Error),
    #[error("copying {size} bytes of it to address {address:#x}")]
    Copy { address: u64, size: u64, source: vm_memory::GuestMemoryError },
    #[error(transparent)]
    Kaslr(#[from] kaslr::Error),
}

/// A kernel in guest memory.
#[derive(Debug)]
pub struct Kernel {
    pub entry: Entry,
    /// The first address after it, memory that it clears for itself included.
    pub end: u64,
    /// It lies at random addresses, and is to know.
    pub randomized: bool,
}

impl Kernel {
    /// Loads the ELF file `file`: at the physical addresses it asks for, or, with a seed and if it can be moved, at
    /// others. `memory_size` is the machine's RAM in bytes, of which what lies at `top` and above is somebody else's.
    pub fn load(
        file: &File,
        memory: &GuestRam,
        memory_size: u64,
        top: u64,
        seed: Option<u64>,
    ) -> Result<Self, Error> {
        let kernel = Vmlinux::read(file)?;
        let Range { start, end } = kernel.memory();
        let available = memory_size.min(GAP_START);
        if end > available {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            return Err(Error::Memory { needed: mib(end), available: mib(available) });
        }
        // By PVH, kernels are entered where they were linked to lie.
        let relocations = match (seed, kernel.entry) {
            (Some(_), Entry::Linux64(_)) => kernel.relocations(file)?,
            _ => None,
        };
        let moved = seed
            .zip(relocations)
            .map(|(seed, relocations)| (Displacement::choose(seed, start..end, top), relocations));
        let by = moved.as_ref().map_or(0, |(displacement, _)| displacement.physical);
        for segment in &kernel.segments {
            let (address, size) = (segment.address + by, segment.file_size);
            let mut sparse = SparseFile::new(file, segment.offset).map_err(Error::Read)?;
            memory
                .read_exact_volatile_from(GuestAddress(address), &mut sparse, size as usize)
                .map_err(|source| Error::Copy { address, size, source })?;
        }
        if let Some((displacement, relocations)) = &moved {
            displacement.apply(relocations, start..end, memory)?;
        }
        let entry = match kernel.entry {
            Entry::Linux64(entry) => Entry::Linux64(entry + by),
            pvh => pvh,
        };
        Ok(Self { entry, end: end + by, randomized: moved.is_some() })
    }
}

#[cfg(test)]
#[path = "kernel_test.rs"]
mod tests;
