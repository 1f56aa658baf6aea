//! What a vmlinux says of itself: its architecture, version, place in memory and configuration.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, ReadCache};

use super::{Error, VMLINUX_LIMIT};
use crate::bounded::Bounded;

pub const MAGIC: &[u8] = b"\x7fELF";

const BANNER: &[u8] = b"Linux version ";
const CONFIG_BEGIN: &[u8] = b"IKCFG_ST";
const CONFIG_LIMIT: u64 = 16 << 20;
const LONGEST_VERSION: usize = 64;
/// No kernel has more than a handful of segments.
const MOST_SEGMENTS: usize = 64;

/// What a vmlinux says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The release, as `uname -r` shows it.
    pub version: String,
    /// The end of the kernel's segments in guest-physical memory, in bytes.
    pub memory_end: u64,
}

/// Checks that `vmlinux` is an x86-64 kernel, and reads its facts.
pub fn inspect(vmlinux: &File) -> Result<Facts, Error> {
    let segments = segments(vmlinux)?;
    let memory_end = segments
        .iter()
        .map(|segment| segment.address.saturating_add(segment.memory_size))
        .max()
        .ok_or_else(|| Error::NotAKernel("an ELF file without segments to load".into()))?;
    if memory_end > 4 * VMLINUX_LIMIT {
        return Err(Error::Damaged(format!("a segment ends at address {memory_end:#x}")));
    }
    for segment in &segments {
        if let Some(version) = version(&segment.read(vmlinux)?) {
            return Ok(Facts { version, memory_end });
        }
    }
    Err(Error::NotAKernel("an ELF file without a \"Linux version\" in it".into()))
}

/// The configuration between IKCFG_ST and IKCFG_ED, unpacked.
pub fn embedded_config(vmlinux: &File) -> Result<Option<Vec<u8>>, Error> {
    for segment in segments(vmlinux)? {
        let bytes = segment.read(vmlinux)?;
        let Some(found) = find(&bytes, CONFIG_BEGIN) else { continue };
        let packed = flate2::read::GzDecoder::new(&bytes[found + CONFIG_BEGIN.len()..]);
        let mut config = Vec::new();
        Bounded::new(packed, CONFIG_LIMIT, "the kernel's embedded configuration")
            .read_to_end(&mut config)
            .map_err(|error| Error::Damaged(format!("its embedded configuration: {error}")))?;
        return Ok(Some(config));
    }
    Ok(None)
}

/// One PT_LOAD segment.
struct Segment {
    /// Guest-physical address, in bytes.
    address: u64,
    memory_size: u64,
    offset: u64,
    file_size: u64,
}

impl Segment {
    /// The segment's bytes; [`segments`] has checked that they lie within the file.
    fn read(&self, file: &File) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; self.file_size as usize];
        file.read_exact_at(&mut bytes, self.offset)?;
        Ok(bytes)
    }
}

fn segments(vmlinux: &File) -> Result<Vec<Segment>, Error> {
    let length = vmlinux.metadata()?.len();
    let cache = ReadCache::new(vmlinux);
    let damaged = |error: object::Error| Error::Damaged(error.to_string());

    let mut identity = [0; 20];
    if length < identity.len() as u64 {
        return Err(Error::NotAKernel("too short for an ELF file".into()));
    }
    vmlinux.read_exact_at(&mut identity, 0)?;
    check_identity(&identity)?;

    let header = FileHeader64::<Endianness>::parse(&cache).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    let headers = header.program_headers(endian, &cache).map_err(damaged)?;
    if headers.len() > MOST_SEGMENTS {
        return Err(Error::Damaged(format!("{} program headers", headers.len())));
    }
    let mut segments = Vec::new();
    for header in headers.iter().filter(|header| header.p_type(endian) == elf::PT_LOAD) {
        let segment = Segment {
            address: header.p_paddr(endian),
            memory_size: header.p_memsz(endian),
            offset: header.p_offset(endian),
            file_size: header.p_filesz(endian),
        };
        if segment.offset.checked_add(segment.file_size).is_none_or(|end| end > length) {
            return Err(Error::Damaged(format!(
                "a segment of {} bytes at byte {}, in a file of {length}",
                segment.file_size, segment.offset
            )));
        }
        segments.push(segment);
    }
    Ok(segments)
}

fn check_identity(identity: &[u8; 20]) -> Result<(), Error> {
    if !identity.starts_with(MAGIC) {
        return Err(Error::NotAKernel("its unpacked payload is not an ELF file".into()));
    }
    let little = identity[5] == elf::ELFDATA2LSB.0;
    let field = |at: usize| {
        let bytes = [identity[at], identity[at + 1]];
        if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }
    };
    let (kind, machine) = (field(16), field(18));
    match machine {
        62 if identity[4] == elf::ELFCLASS64.0 => {}
        62 => return Err(Error::OtherArchitecture("x32".into())),
        3 => return Err(Error::OtherArchitecture("32-bit x86".into())),
        183 => return Err(Error::OtherArchitecture("arm64".into())),
        40 => return Err(Error::OtherArchitecture("arm".into())),
        243 => return Err(Error::OtherArchitecture("riscv64".into())),
        21 => return Err(Error::OtherArchitecture("ppc64".into())),
        22 => return Err(Error::OtherArchitecture("s390x".into())),
        258 => return Err(Error::OtherArchitecture("loongarch64".into())),
        other => return Err(Error::OtherArchitecture(format!("ELF machine {other}"))),
    }
    if kind == 1 {
        return Err(Error::NotAKernel("an ELF object file, such as a kernel module".into()));
    }
    Ok(())
}

/// The release in the kernel's banner, `Linux version 6.1.0 (…`.
fn version(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes;
    while let Some(found) = find(rest, BANNER) {
        rest = &rest[found + BANNER.len()..];
        let window = &rest[..rest.len().min(LONGEST_VERSION + 1)];
        let Some(end) = window.iter().position(|byte| *byte == b' ') else { continue };
        let release = &window[..end];
        if release.first().is_some_and(u8::is_ascii_digit) && release.iter().all(u8::is_ascii_graphic) {
            return String::from_utf8(release.to_vec()).ok();
        }
    }
    None
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}
