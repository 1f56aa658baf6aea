//! Kernel images: what a file is, and the vmlinux inside.

mod bzimage;
mod facts;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use crate::bounded::Bounded;
use crate::compression::{self, Compression, read_start};

use vmlinux::Error as Refusal;

pub use facts::Facts;

/// The largest vmlinux that is accepted, in bytes.
pub const VMLINUX_LIMIT: u64 = 1 << 30;

/// Why a file could not be taken as a kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot unpack the kernel: {0}")]
    Unpack(#[source] io::Error),
    #[error("cannot read or write the kernel: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Writes the vmlinux that `image` is or holds to `out`, and says what is in it. `image` is a
/// vmlinux, a compressed vmlinux or a bzImage (Documentation/arch/x86/boot.rst).
pub fn unpack(image: &File, out: &mut File) -> Result<Facts, Error> {
    let mut start = [0; bzimage::HEADER_END];
    let mut reader = image;
    reader.seek(SeekFrom::Start(0))?;
    let read = read_start(&mut reader, &mut start)?;
    let start = &start[..read];
    reader.seek(SeekFrom::Start(0))?;

    let mut unpacked_size = None;
    let payload: Box<dyn Read> = match recognise(start)? {
        Form::Elf => Box::new(reader),
        Form::Compressed => compression::reader(reader).map_err(Error::Unpack)?,
        Form::BzImage => {
            let payload = bzimage::payload(start)?;
            let length = image.metadata()?.len();
            if payload.end > length {
                return Err(Refusal::Damaged(format!(
                    "its payload ends at byte {}, the file at byte {length}",
                    payload.end
                ))
                .into());
            }
            let mut magic = [0; compression::MAGIC_LENGTH];
            image.read_exact_at(&mut magic, payload.start)?;
            if Compression::of(&magic) == Compression::None && !magic.starts_with(vmlinux::MAGIC) {
                return Err(Refusal::Damaged("its payload's compression is unknown".into()).into());
            }
            // All of them end with it: gzip by itself, the others by the kernel's build.
            let mut size = [0; 4];
            image.read_exact_at(&mut size, payload.end.saturating_sub(4).max(payload.start))?;
            unpacked_size = (Compression::of(&magic) != Compression::None).then(|| u32::from_le_bytes(size));
            reader.seek(SeekFrom::Start(payload.start))?;
            compression::reader(reader.take(payload.end - payload.start)).map_err(Error::Unpack)?
        }
    };
    let size = copy(payload, out, VMLINUX_LIMIT)?;
    out.flush()?;
    // lzma and lz4 have no checksum that would tell of damage.
    if let Some(said) = unpacked_size.filter(|said| u64::from(*said) != size) {
        let why = format!("its payload unpacks to {size} bytes, and should to {said}");
        return Err(Refusal::Damaged(why).into());
    }
    facts::inspect(out)
}

/// The configuration that a kernel built with IKCONFIG carries.
pub fn embedded_config(vmlinux: &File) -> Result<Option<Vec<u8>>, Error> {
    facts::embedded_config(vmlinux)
}

enum Form {
    Elf,
    BzImage,
    Compressed,
}

fn recognise(start: &[u8]) -> Result<Form, Error> {
    if start.is_empty() {
        return Err(Refusal::NotAKernel("it is empty".into()).into());
    }
    if start.starts_with(vmlinux::MAGIC) {
        return Ok(Form::Elf);
    }
    if bzimage::is(start) {
        return Ok(Form::BzImage);
    }
    if start.get(56..60) == Some(b"ARM\x64") {
        return Err(Refusal::OtherArchitecture("arm64".into()).into());
    }
    if start.get(48..56) == Some(b"RISCV\0\0\0") || start.get(56..60) == Some(b"RSC\x05") {
        return Err(Refusal::OtherArchitecture("riscv64".into()).into());
    }
    if start.starts_with(b"MZ") {
        return Err(portable_executable(start).into());
    }
    if Compression::of(start) != Compression::None {
        return Ok(Form::Compressed);
    }
    Err(Refusal::NotAKernel("neither a vmlinux (ELF), a bzImage nor a compressed vmlinux".into()).into())
}

/// What an EFI program that is no bzImage is: another architecture's kernel, or no kernel.
fn portable_executable(start: &[u8]) -> Refusal {
    let field = |at: usize, length: usize| start.get(at..at.checked_add(length)?);
    let offset = field(0x3c, 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
    let machine =
        field(offset as usize + 4, 2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes);
    match machine {
        Some(0xaa64) => Refusal::OtherArchitecture("arm64".into()),
        Some(0x01c0 | 0x01c2 | 0x01c4) => Refusal::OtherArchitecture("arm".into()),
        Some(0x5064) => Refusal::OtherArchitecture("riscv64".into()),
        Some(0x6264) => Refusal::OtherArchitecture("loongarch64".into()),
        _ => Refusal::NotAKernel("an EFI or Windows program without a Linux boot header".into()),
    }
}

/// Returns the number of bytes.
fn copy(from: impl Read, to: &mut File, limit: u64) -> Result<u64, Error> {
    let mut from = Bounded::new(from, limit, "the unpacked kernel");
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(size),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::Unpack(error)),
        };
        to.write_all(&buffer[..read])?;
        size += read as u64;
    }
}

#[cfg(test)]
mod tests;
