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

/// Puts `parts` at the end of the RAM below the gap, behind the kernel that ends at `kernel_end`.
pub fn load(
    parts: &[InitramfsPart],
    memory: &GuestRam,
    memory_size: u64,
    kernel_end: u64,
) -> Result<Option<Placed>, Error> {
    let mut sources = parts.iter().map(Source::open).collect::<Result<Vec<_>, _>>()?;
    let length = sources.iter().fold(0u64, |sum, source| sum.saturating_add(source.padded()));
    if length == 0 {
        return Ok(None);
    }
    let top = memory_size.min(GAP_START);
    let Some(address) = top.checked_sub(length).map(|at| at / PAGE * PAGE).filter(|at| *at >= kernel_end)
    else {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        return Err(Error::Memory {
            initramfs: mib(length),
            kernel: mib(kernel_end),
            memory: mib(memory_size),
        });
    };
    let mut at = address;
    for source in &mut sources {
        source.put(memory, GuestAddress(at))?;
        at += source.padded();
    }
    Ok(Some(Placed { address, length }))
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
        let placed = load(&parts, &memory, 4 << 20, 1 << 20).unwrap().unwrap();
        assert_eq!(placed, Placed { address: (4 << 20) - 4096, length: 12 });
        let mut bytes = [0xff; 12];
        memory.read_slice(&mut bytes, GuestAddress(placed.address)).unwrap();
        assert_eq!(&bytes, b"12345\0\0\0abc\0");
    }

    #[test]
    fn an_initramfs_that_would_hit_the_kernel_is_refused() {
        let memory = memory::allocate(4 << 20).unwrap();
        let parts = [InitramfsPart::Bytes(vec![0; 2 << 20])];
        let error = load(&parts, &memory, 4 << 20, 3 << 20).unwrap_err();
        assert!(error.to_string().contains("do not fit into the machine's 4 MiB"), "{error}");
    }
}
