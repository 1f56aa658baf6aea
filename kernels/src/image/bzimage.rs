//! The setup header of a bzImage (Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header").

use std::ops::Range;

use super::Error;
use vmlinux::Error as Refusal;

/// As much of the file as [`payload`] wants to see, in bytes.
pub const HEADER_END: usize = 0x268;

const SETUP_SECTORS: usize = 0x1f1;
const BOOT_FLAG: usize = 0x1fe;
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const LOAD_FLAGS: usize = 0x236;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// The boot protocol that brought `payload_offset` and `payload_length`.
const VERSION_WITH_PAYLOAD: u16 = 0x0208;
/// The boot protocol that brought `xloadflags`.
const VERSION_WITH_LOAD_FLAGS: u16 = 0x020c;
/// `XLF_KERNEL_64` in `xloadflags`.
const KERNEL_64: u16 = 1;

/// Whether a file that starts so is a bzImage.
pub fn is(start: &[u8]) -> bool {
    start.get(BOOT_FLAG..BOOT_FLAG + 2) == Some(&[0x55, 0xaa]) && start.get(MAGIC..MAGIC + 4) == Some(b"HdrS")
}

/// Where in the file the compressed vmlinux lies.
pub fn payload(start: &[u8]) -> Result<Range<u64>, Error> {
    let start: &[u8; HEADER_END] =
        start.try_into().map_err(|_| Refusal::Damaged("its boot header is cut off".into()))?;
    let version = u16_at(start, VERSION);
    if version < VERSION_WITH_PAYLOAD {
        return Err(Refusal::Damaged(format!(
            "boot protocol {}.{:02} is older than 2.08 (Linux 2.6.26)",
            version >> 8,
            version & 0xff
        ))
        .into());
    }
    if version >= VERSION_WITH_LOAD_FLAGS && u16_at(start, LOAD_FLAGS) & KERNEL_64 == 0 {
        return Err(Refusal::OtherArchitecture("32-bit x86".into()).into());
    }
    // Zero stands for four, for the sake of very old boot loaders.
    let sectors = match start[SETUP_SECTORS] {
        0 => 4,
        sectors => u64::from(sectors),
    };
    let begin = (sectors + 1) * 512 + u64::from(u32_at(start, PAYLOAD_OFFSET));
    let length = u64::from(u32_at(start, PAYLOAD_LENGTH));
    if length == 0 {
        return Err(Refusal::Damaged("it has no payload".into()).into());
    }
    Ok(begin..begin + length)
}

fn u16_at(header: &[u8; HEADER_END], at: usize) -> u16 {
    u16::from_le_bytes([header[at], header[at + 1]])
}

fn u32_at(header: &[u8; HEADER_END], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}
