//! The 512-byte header of a tar entry: POSIX ustar, GNU, star and V7.

use super::number::header_field;
use super::source::BLOCK;
use super::{Kind, Problem};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// A header block as POSIX.1-1988 lays it out. GNU tar uses the prefix for other things.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    name: [u8; 100],
    mode: [u8; 8],
    uid: [u8; 8],
    gid: [u8; 8],
    size: [u8; 12],
    mtime: [u8; 12],
    checksum: [u8; 8],
    pub type_flag: u8,
    link_name: [u8; 100],
    magic: [u8; 8],
    user_name: [u8; 32],
    group_name: [u8; 32],
    device_major: [u8; 8],
    device_minor: [u8; 8],
    prefix: [u8; 155],
    trailer: [u8; 12],
}

const CHECKSUM_FIELD: std::ops::Range<usize> = 148..156;

impl Header {
    /// `None` for a block that ends the archive, all zeroes.
    pub fn parse(block: &[u8; BLOCK]) -> Result<Option<&Header>, Problem> {
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let header = Header::ref_from_bytes(block).map_err(|_| Problem::Checksum)?;
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        // Some old archivers summed signed bytes.
        let signed_sum: i64 = block.iter().map(|&byte| i64::from(byte as i8)).sum();
        let field: u64 = block[CHECKSUM_FIELD].iter().map(|&byte| u64::from(byte)).sum();
        let signed_field: i64 = block[CHECKSUM_FIELD].iter().map(|&byte| i64::from(byte as i8)).sum();
        let spaces = 8 * u64::from(b' ');
        match header_field(&header.checksum) {
            Some(said) if said as u64 == sum - field + spaces => Ok(Some(header)),
            Some(said) if said == signed_sum - signed_field + spaces as i64 => Ok(Some(header)),
            _ => Err(Problem::Checksum),
        }
    }

    /// What stands where the name should, even in a block that is no header.
    pub fn supposed_name(block: &[u8; BLOCK]) -> &[u8] {
        until_nul(&block[..100])
    }

    /// The entry's name, put together from both fields of a ustar header.
    pub fn name(&self, name: &mut Vec<u8>) {
        name.clear();
        let prefix = match (&self.magic, &self.trailer[8..]) {
            (b"ustar\x0000", b"tar\0") => until_nul(&self.prefix[..131]),
            // Some writers leave the version out.
            (magic, _) if magic.starts_with(b"ustar\0") => until_nul(&self.prefix),
            _ => &[],
        };
        if !prefix.is_empty() {
            name.extend_from_slice(prefix);
            name.push(b'/');
        }
        name.extend_from_slice(until_nul(&self.name));
    }

    pub fn link_name(&self) -> &[u8] {
        until_nul(&self.link_name)
    }

    pub fn size(&self) -> Result<u64, Problem> {
        let size = number("size", &self.size)?;
        u64::try_from(size).map_err(|_| Problem::NegativeSize)
    }

    /// Permission bits, setuid, setgid and sticky.
    pub fn mode(&self) -> Result<u16, Problem> {
        Ok((number("mode", &self.mode)? & 0o7777) as u16)
    }

    pub fn uid(&self) -> Result<u32, Problem> {
        owner("uid", &self.uid)
    }

    pub fn gid(&self) -> Result<u32, Problem> {
        owner("gid", &self.gid)
    }

    /// Whole seconds since the epoch.
    pub fn mtime(&self) -> Result<i64, Problem> {
        number("mtime", &self.mtime)
    }

    pub fn device(&self) -> Result<(u32, u32), Problem> {
        let major = number("device number", &self.device_major)?;
        let minor = number("device number", &self.device_minor)?;
        match (u32::try_from(major), u32::try_from(minor)) {
            // Linux has 12 bits for the one and 20 for the other.
            (Ok(major @ 0..=0xfff), Ok(minor @ 0..=0xf_ffff)) => Ok((major, minor)),
            _ => Err(Problem::Number { field: "device number" }),
        }
    }

    pub fn kind(&self, name: &[u8]) -> Result<Kind, Problem> {
        Ok(match self.type_flag {
            0 if name.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharacterDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(Problem::UnknownType(other)),
        })
    }
}

fn number(field: &'static str, bytes: &[u8]) -> Result<i64, Problem> {
    header_field(bytes).ok_or(Problem::Number { field })
}

fn owner(field: &'static str, bytes: &[u8]) -> Result<u32, Problem> {
    u32::try_from(number(field, bytes)?).map_err(|_| Problem::Number { field })
}

pub fn until_nul(field: &[u8]) -> &[u8] {
    match field.iter().position(|&byte| byte == 0) {
        Some(end) => &field[..end],
        None => field,
    }
}
