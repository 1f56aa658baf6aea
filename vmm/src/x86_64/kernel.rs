//! Reading a vmlinux into guest memory.

use std::fs::File;
use std::io::Read;

use linux_loader::elf::{Elf64_Ehdr, PT_LOAD};
use linux_loader::loader::KernelLoader;
use linux_loader::loader::elf::{Elf, PvhBootCapability};
use std::os::unix::fs::FileExt;
use vm_memory::{ByteValued, GuestAddress};

use super::sparse::SparseFile;
use crate::layout::{GAP_START, HIGH_MEMORY};
use crate::virtio::GuestRam;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("is no ELF file; vmrun boots uncompressed kernels (vmlinux)")]
    NotElf,
    #[error("is not made for x86-64 (ELF machine {machine}, class {class})")]
    Architecture { machine: u16, class: u8 },
    #[error("reading its headers")]
    Headers(#[source] std::io::Error),
    #[error("needs memory up to {needed} MiB, the machine has {available} MiB")]
    Memory { needed: u64, available: u64 },
    #[error("cannot be loaded")]
    Load(#[source] linux_loader::loader::Error),
    #[error("begins neither in its own code (entry {0:#x}) nor with a PVH note")]
    Entry(u64),
}

/// How a kernel is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// By Linux's 64-bit boot protocol, at this address (Documentation/arch/x86/boot.rst).
    Linux64(u64),
    /// By the PVH protocol, in 32-bit mode, at this address (Xen's docs/misc/pvh.pandoc).
    Pvh(u64),
}

/// A kernel in guest memory.
#[derive(Debug)]
pub struct Kernel {
    pub entry: Entry,
    /// The first address after it, memory that it clears for itself included.
    pub end: u64,
}

impl Kernel {
    /// Loads the ELF file `file` at the physical addresses it asks for. `memory_size` is the machine's RAM in bytes.
    pub fn load(file: &mut File, memory: &GuestRam, memory_size: u64) -> Result<Self, Error> {
        let headers = Headers::read(file)?;
        let low = memory_size.min(GAP_START);
        if headers.end > low {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            return Err(Error::Memory { needed: mib(headers.end), available: mib(low) });
        }
        let mut sparse = SparseFile::new(file).map_err(Error::Headers)?;
        let loaded = Elf::load(memory, None, &mut sparse, None).map_err(Error::Load)?;
        let entry = match loaded.pvh_boot_cap {
            _ if headers.contains_entry => Entry::Linux64(headers.entry),
            PvhBootCapability::PvhEntryPresent(GuestAddress(entry)) => Entry::Pvh(entry),
            _ => return Err(Error::Entry(headers.entry)),
        };
        Ok(Self { entry, end: headers.end })
    }
}

/// What the ELF headers say, which the loader either does not check or does not tell.
struct Headers {
    entry: u64,
    /// Whether the entry is a physical address within a loaded segment, as Linux's is. Kernels that only know PVH have
    /// a virtual address there.
    contains_entry: bool,
    end: u64,
}

/// Room for the headers: an ELF header and a few dozen segments. Kernels have under ten.
const HEADER_BYTES: usize = 4096;
const CLASS_64: u8 = 2;
const MACHINE_X86_64: u16 = 62;

impl Headers {
    fn read(file: &mut File) -> Result<Self, Error> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        file.take(HEADER_BYTES as u64).read_to_end(&mut bytes).map_err(Error::Headers)?;
        if !bytes.starts_with(b"\x7fELF") {
            return Err(Error::NotElf);
        }
        let mut header = Elf64_Ehdr::default();
        let size = header.as_slice().len();
        header.as_mut_slice().copy_from_slice(bytes.get(..size).ok_or(Error::NotElf)?);
        let class = header.e_ident.get(4).copied().unwrap_or(0);
        if class != CLASS_64 || header.e_machine != MACHINE_X86_64 {
            return Err(Error::Architecture { machine: header.e_machine, class });
        }
        let mut headers = Self { entry: header.e_entry, contains_entry: false, end: HIGH_MEMORY };
        for index in 0..u64::from(header.e_phnum) {
            headers.add_segment(file, header.e_phoff.wrapping_add(index * PROGRAM_HEADER))?;
        }
        Ok(headers)
    }

    fn add_segment(&mut self, file: &File, offset: u64) -> Result<(), Error> {
        let mut segment = linux_loader::elf::Elf64_Phdr::default();
        file.read_exact_at(segment.as_mut_slice(), offset).map_err(Error::Headers)?;
        if segment.p_type == PT_LOAD {
            let end = segment.p_paddr.saturating_add(segment.p_memsz.max(segment.p_filesz));
            self.contains_entry |= (segment.p_paddr..end).contains(&self.entry);
            self.end = self.end.max(end);
        }
        Ok(())
    }
}

/// Size of an ELF64 program header.
const PROGRAM_HEADER: u64 = 56;
