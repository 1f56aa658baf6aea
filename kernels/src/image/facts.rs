//! What a vmlinux says of itself: its architecture, version, place in memory and configuration.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use vmlinux::{Segment, Vmlinux};

use super::Error;
use crate::bounded::Bounded;
use vmlinux::Error as Refusal;

const BANNER: &[u8] = b"Linux version ";
const CONFIG_BEGIN: &[u8] = b"IKCFG_ST";
const CONFIG_LIMIT: u64 = 16 << 20;
const LONGEST_VERSION: usize = 64;

/// What a vmlinux says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The release, as `uname -r` shows it.
    pub version: String,
    /// The end of the kernel's segments in guest-physical memory, in bytes.
    pub memory_end: u64,
    /// How many places in it can be changed, so that it runs elsewhere too; none in an image that does not carry them.
    pub relocations: usize,
}

/// Checks that `vmlinux` is an x86-64 kernel that can be loaded, and reads its facts.
pub fn inspect(vmlinux: &File) -> Result<Facts, Error> {
    let kernel = Vmlinux::read(vmlinux)?;
    let relocations = kernel.relocations(vmlinux)?.map_or(0, |relocations| relocations.count());
    for segment in &kernel.segments {
        if let Some(version) = version(&read(segment, vmlinux)?) {
            return Ok(Facts { version, memory_end: kernel.memory().end, relocations });
        }
    }
    Err(Refusal::NotAKernel("an ELF file without a \"Linux version\" in it".into()).into())
}

/// The configuration between IKCFG_ST and IKCFG_ED, unpacked.
pub fn embedded_config(vmlinux: &File) -> Result<Option<Vec<u8>>, Error> {
    for segment in Vmlinux::read(vmlinux)?.segments {
        let bytes = read(&segment, vmlinux)?;
        let Some(found) = find(&bytes, CONFIG_BEGIN) else { continue };
        let packed = flate2::read::GzDecoder::new(&bytes[found + CONFIG_BEGIN.len()..]);
        let mut config = Vec::new();
        Bounded::new(packed, CONFIG_LIMIT, "the kernel's embedded configuration")
            .read_to_end(&mut config)
            .map_err(|error| Refusal::Damaged(format!("its embedded configuration: {error}")))?;
        return Ok(Some(config));
    }
    Ok(None)
}

/// The segment's bytes; [`Vmlinux::read`] has checked that they lie within the file.
fn read(segment: &Segment, file: &File) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; segment.file_size as usize];
    file.read_exact_at(&mut bytes, segment.offset)?;
    Ok(bytes)
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
