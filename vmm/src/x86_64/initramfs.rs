//! Putting the initramfs into guest memory, straight from its files.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use vm_memory::{Bytes, GuestAddress};

use crate::layout::GAP_START;
use crate::spec::InitramfsPart;
use crate::virtio::GuestRam;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("opening the initramfs part {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("reading {length} bytes of the initramfs part {path}")]
    Read { path: PathBuf, length: u64, source: vm_memory::GuestMemoryError },
    #[error("copying the initramfs")]
    Copy(#[source] vm_memory::GuestMemoryError),
    #[error(
        "the initramfs ({initramfs} MiB) and the kernel (up to {kernel} MiB) do not fit into the machine's {memory} MiB"
    )]
    Memory { initramfs: u64, kernel: u64, memory: u64 },
}

/// Where the initramfs lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    pub address: u64,
    pub length: u64,
}

/// The kernel's cpio reader expects each archive of a chain on such a boundary.
const PART_ALIGNMENT: u64 = 4;
const PAGE: u64 = 4096;

/// An initramfs that has its place, and is not there yet.
pub struct Initramfs<'a> {
    sources: Vec<Source<'a>>,
    length: u64,
    address: u64,
    memory_size: u64,
}

impl<'a> Initramfs<'a> {
    /// Opens `parts`, which are to lie at the end of the RAM below the gap.
    pub fn open(parts: &'a [InitramfsPart], memory_size: u64) -> Result<Self, Error> {
        let sources = parts.iter().map(Source::open).collect::<Result<Vec<_>, _>>()?;
        let length = sources.iter().fold(0u64, |sum, source| sum.saturating_add(source.padded()));
        let address = memory_size.min(GAP_START).saturating_sub(length) / PAGE * PAGE;
        Ok(Self { sources, length, address, memory_size })
    }

    /// The first address that is not for others.
    pub fn start(&self) -> u64 {
        self.address
    }

    /// Reads the parts into `memory`, behind the kernel that ends at `kernel_end`.
    pub fn load(&mut self, memory: &GuestRam, kernel_end: u64) -> Result<Option<Placed>, Error> {
        let &mut Self { length, address, memory_size, .. } = self;
        if length == 0 {
            return Ok(None);
        }
        if address < kernel_end {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            return Err(Error::Memory {
                initramfs: mib(length),
                kernel: mib(kernel_end),
                memory: mib(memory_size),
            });
        }
        let mut at = address;
        for source in &mut self.sources {
            source.put(memory, GuestAddress(at))?;
            at += source.padded();
        }
        Ok(Some(Placed { address, length }))
    }
}

enum Source<'a> {
    File { path: &'a PathBuf, file: File, length: u64 },
    Bytes(&'a [u8]),
}

impl<'a> Source<'a> {
    fn open(part: &'a InitramfsPart) -> Result<Self, Error> {
        match part {
            InitramfsPart::Bytes(bytes) => Ok(Self::Bytes(bytes)),
            InitramfsPart::File(path) => {
                let failed = |source| Error::Open { path: path.clone(), source };
                let file = File::open(path).map_err(failed)?;
                let length = file.metadata().map_err(failed)?.len();
                Ok(Self::File { path, file, length })
            }
        }
    }

    fn padded(&self) -> u64 {
        let length = match self {
            Self::File { length, .. } => *length,
            Self::Bytes(bytes) => bytes.len() as u64,
        };
        length.checked_next_multiple_of(PART_ALIGNMENT).unwrap_or(u64::MAX)
    }

    fn put(&mut self, memory: &GuestRam, at: GuestAddress) -> Result<(), Error> {
        match self {
            Self::Bytes(bytes) => memory.write_slice(bytes, at).map_err(Error::Copy),
            // The length has been compared with that of memory, whose addresses are usize.
            Self::File { path, file, length } => memory
                .read_exact_volatile_from(at, file, *length as usize)
                .map_err(|source| Error::Read { path: path.clone(), length: *length, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;

    #[test]
    fn parts_follow_one_another_padded_to_four_bytes() {
        let memory = memory::allocate(4 << 20).unwrap();
        let parts = [InitramfsPart::Bytes(b"12345".to_vec()), InitramfsPart::Bytes(b"abc".to_vec())];
        let mut initramfs = Initramfs::open(&parts, 4 << 20).unwrap();
        let placed = initramfs.load(&memory, 1 << 20).unwrap().unwrap();
        assert_eq!(placed, Placed { address: (4 << 20) - 4096, length: 12 });
        let mut bytes = [0xff; 12];
        memory.read_slice(&mut bytes, GuestAddress(placed.address)).unwrap();
        assert_eq!(&bytes, b"12345\0\0\0abc\0");
    }

    #[test]
    fn an_initramfs_that_would_hit_the_kernel_is_refused() {
        let memory = memory::allocate(4 << 20).unwrap();
        let parts = [InitramfsPart::Bytes(vec![0; 2 << 20])];
        let error = Initramfs::open(&parts, 4 << 20).unwrap().load(&memory, 3 << 20).unwrap_err();
        assert!(error.to_string().contains("do not fit into the machine's 4 MiB"), "{error}");
    }
}
