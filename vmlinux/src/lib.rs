//! What a vmlinux, the ELF file that a Linux kernel is, says of itself, with none of it believed: where its segments are
//! to lie, where it begins, and which places in it to change should it lie elsewhere.
//!
//! Whoever keeps kernels asks before one is kept, and the monitor asks again before it loads one: what [`Vmlinux::read`]
//! returns can be loaded without another look.

mod relocations;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, ReadCache, ReadRef};

pub use relocations::Relocations;

pub const MAGIC: &[u8] = b"\x7fELF";

/// Where the kernel's own addresses begin; a kernel linked to lie at physical address `p` has this plus `p`.
pub const START_KERNEL_MAP: u64 = 0xffff_ffff_8000_0000;

/// No kernel has more than a handful of segments.
const MOST_SEGMENTS: usize = 64;
/// Notes take some hundred bytes, in real kernels.
const MOST_NOTES: u64 = 64 << 10;
/// Kernels are linked to lie low: at 16 MiB, by default.
const HIGHEST_ADDRESS: u64 = 4 << 30;
/// Below, a PC has its firmware's tables, and whoever boots a kernel what it says to it.
const LOWEST_ADDRESS: u64 = 1 << 20;
/// XEN_ELFNOTE_PHYS32_ENTRY, in a note of "Xen".
const PVH_NOTE: u32 = 18;

/// Why a file cannot be taken as a kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this is not a kernel: {0}")]
    NotAKernel(String),
    #[error("this kernel is for {0}, not x86-64")]
    OtherArchitecture(String),
    #[error("the kernel's image is damaged: {0}")]
    Damaged(String),
    #[error("cannot read the kernel: {0}")]
    Io(#[from] io::Error),
}

/// A part of the file that is to lie in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Guest-physical address, in bytes.
    pub address: u64,
    /// Bytes in memory; what the file does not have of them is zero.
    pub memory_size: u64,
    /// Where in the file it is, all of it within the file.
    pub offset: u64,
    pub file_size: u64,
}

impl Segment {
    /// Its place in memory; does not overflow.
    pub fn range(&self) -> Range<u64> {
        self.address..self.address + self.memory_size
    }
}

/// How a kernel is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// By Linux's 64-bit boot protocol, at this physical address (Documentation/arch/x86/boot.rst).
    Linux64(u64),
    /// By the PVH protocol, in 32-bit mode, at this physical address (Xen's docs/misc/pvh.pandoc).
    Pvh(u64),
}

/// A kernel whose headers make sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vmlinux {
    /// In a segment, and in bytes that the file has.
    pub entry: Entry,
    /// By address; at least one, none over another.
    pub segments: Vec<Segment>,
    /// What is in the file behind everything that its headers speak of.
    behind: Range<u64>,
}

impl Vmlinux {
    /// Reads and checks the headers of `file`.
    pub fn read(file: &File) -> Result<Self, Error> {
        let length = file.metadata()?.len();
        check_identity(file, length)?;
        let cache = ReadCache::new(file);
        let header = FileHeader64::<Endianness>::parse(&cache).map_err(damaged)?;
        let endian = header.endian().map_err(damaged)?;
        // Before they are read: a file can claim as many as it likes.
        if usize::from(header.e_phnum(endian)) > MOST_SEGMENTS {
            return Err(Error::Damaged(format!("it has {} program headers", header.e_phnum(endian))));
        }
        let programs = header.program_headers(endian, &cache).map_err(damaged)?;
        let loaded = programs.iter().filter(|program| program.p_type(endian) == elf::PT_LOAD);
        let mut segments = loaded
            .map(|program| Segment {
                address: program.p_paddr(endian),
                memory_size: program.p_memsz(endian),
                offset: program.p_offset(endian),
                file_size: program.p_filesz(endian),
            })
            .filter(|segment| segment.memory_size != 0 || segment.file_size != 0)
            .map(|segment| checked(segment, length))
            .collect::<Result<Vec<_>, _>>()?;
        segments.sort_by_key(|segment| segment.address);
        if segments.is_empty() {
            return Err(Error::NotAKernel("an ELF file without segments to load".into()));
        }
        if let Some(pair) = segments.windows(2).find(|pair| pair[0].range().end > pair[1].address) {
            return Err(Error::Damaged(format!(
                "two segments lie over one another, at {:#x} and {:#x}",
                pair[0].address, pair[1].address
            )));
        }
        let pvh = programs
            .iter()
            .map(|program| pvh_entry(program, endian, &cache))
            .find_map(Result::transpose)
            .transpose()?;
        let entry = entry(&segments, header.e_entry(endian), pvh)?;
        Ok(Self { entry, segments, behind: end_of_elf(header, endian, programs)..length })
    }

    /// The places to change when the kernel is to lie elsewhere, if `file`, the same as before, carries them.
    pub fn relocations(&self, file: &File) -> Result<Option<Relocations>, Error> {
        Ok(Relocations::read(file, self.behind.clone())?)
    }

    /// All that the kernel takes of memory, from its first segment to its last.
    pub fn memory(&self) -> Range<u64> {
        let start = self.segments.first().map_or(0, |segment| segment.address);
        let end = self.segments.last().map_or(0, |segment| segment.range().end);
        start..end
    }
}

fn damaged(error: object::Error) -> Error {
    Error::Damaged(error.to_string())
}

/// Looks at the file's first bytes, so that what is no kernel, or another machine's, is called so.
fn check_identity(file: &File, length: u64) -> Result<(), Error> {
    let mut identity = [0; 20];
    if length < identity.len() as u64 {
        return Err(Error::NotAKernel("too short for an ELF file".into()));
    }
    file.read_exact_at(&mut identity, 0)?;
    if !identity.starts_with(MAGIC) {
        return Err(Error::NotAKernel("what was unpacked is not an ELF file".into()));
    }
    let little = identity[5] == elf::ELFDATA2LSB.0;
    let field = |at: usize| {
        let bytes = [identity[at], identity[at + 1]];
        if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }
    };
    let (kind, machine) = (field(16), field(18));
    let architecture = match machine {
        62 if identity[4] == elf::ELFCLASS64.0 && little => None,
        62 if !little => Some("a big-endian machine".into()),
        62 => Some("x32".into()),
        3 => Some("32-bit x86".into()),
        183 => Some("arm64".into()),
        40 => Some("arm".into()),
        243 => Some("riscv64".into()),
        21 => Some("ppc64".into()),
        22 => Some("s390x".into()),
        258 => Some("loongarch64".into()),
        other => Some(format!("ELF machine {other}")),
    };
    match architecture {
        Some(architecture) => Err(Error::OtherArchitecture(architecture)),
        None if kind == 1 => Err(Error::NotAKernel("an ELF object file, such as a kernel module".into())),
        None => Ok(()),
    }
}

fn checked(segment: Segment, length: u64) -> Result<Segment, Error> {
    let Segment { address, memory_size, offset, file_size } = segment;
    if offset.checked_add(file_size).is_none_or(|end| end > length) {
        return Err(Error::Damaged(format!(
            "a segment of {file_size} bytes at byte {offset}, in a file of {length}"
        )));
    }
    if file_size > memory_size {
        return Err(Error::Damaged(format!(
            "a segment of {file_size} bytes has only {memory_size} bytes of memory"
        )));
    }
    if address < LOWEST_ADDRESS {
        return Err(Error::Damaged(format!(
            "a segment lies at address {address:#x}, in the first MiB, which is the firmware's"
        )));
    }
    match address.checked_add(memory_size) {
        Some(end) if end <= HIGHEST_ADDRESS => Ok(segment),
        _ => Err(Error::Damaged(format!(
            "a segment of {memory_size} bytes at address {address:#x} ends beyond 4 GiB"
        ))),
    }
}

/// The entry in the PVH note, if `program` has it.
fn pvh_entry<'data, R: ReadRef<'data>>(
    program: &elf::ProgramHeader64<Endianness>,
    endian: Endianness,
    data: R,
) -> Result<Option<u64>, Error> {
    let size = program.p_filesz(endian);
    if program.p_type(endian) == elf::PT_NOTE && size > MOST_NOTES {
        return Err(Error::Damaged(format!("its notes take {size} bytes")));
    }
    let notes = |error: object::Error| Error::Damaged(format!("its notes: {error}"));
    let Some(mut iterator) = program.notes(endian, data).map_err(notes)? else { return Ok(None) };
    while let Some(note) = iterator.next().map_err(notes)? {
        if note.name() == b"Xen" && note.n_type(endian).0 == PVH_NOTE {
            // 4 bytes, or 8 of which the upper ones are zero.
            let wide = match *note.desc() {
                [a, b, c, d] => [a, b, c, d, 0, 0, 0, 0],
                [a, b, c, d, e, f, g, h] => [a, b, c, d, e, f, g, h],
                ref other => {
                    return Err(Error::Damaged(format!(
                        "its PVH note has an entry of {} bytes",
                        other.len()
                    )));
                }
            };
            return Ok(Some(u64::from_le_bytes(wide)));
        }
    }
    Ok(None)
}

/// Linux's entry is a physical address within a segment. Kernels that only know PVH have a virtual one there.
fn entry(segments: &[Segment], entry: u64, pvh: Option<u64>) -> Result<Entry, Error> {
    let holds = |segment: &Segment, entry: u64| {
        entry.checked_sub(segment.address).is_some_and(|offset| offset < segment.file_size)
    };
    let is_code = |entry: u64| segments.iter().any(|segment| holds(segment, entry));
    match pvh {
        _ if is_code(entry) => Ok(Entry::Linux64(entry)),
        Some(pvh) if is_code(pvh) => Ok(Entry::Pvh(pvh)),
        Some(pvh) => Err(Error::Damaged(format!(
            "it begins neither in its own code (entry {entry:#x}) nor where its PVH note says ({pvh:#x})"
        ))),
        None => Err(Error::Damaged(format!(
            "it begins neither in its own code (entry {entry:#x}) nor with a PVH note"
        ))),
    }
}

/// The first byte behind everything that the ELF headers speak of.
fn end_of_elf(
    header: &FileHeader64<Endianness>,
    endian: Endianness,
    programs: &[elf::ProgramHeader64<Endianness>],
) -> u64 {
    let end = |start: u64, count: u64| start.saturating_add(count);
    let sections = u64::from(header.e_shnum(endian)) * u64::from(header.e_shentsize(endian));
    let tables = [
        end(header.e_shoff(endian), sections),
        end(header.e_phoff(endian), std::mem::size_of_val(programs) as u64),
    ];
    let segments = programs.iter().map(|program| end(program.p_offset(endian), program.p_filesz(endian)));
    tables.into_iter().chain(segments).max().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
