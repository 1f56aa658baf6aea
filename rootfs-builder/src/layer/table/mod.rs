//! The entry table: a layer's entries in the archive's order, as merging needs them.
//!
//! A header, the records, then the positions of the layer's inode blocks. Numbers in records are LEB128.
//! A record is
//!
//! ```text
//! tag            kind in bits 0-3, HAS_XATTRS, SETTLED
//! shared         bytes of the path that are the previous record's
//! length, bytes  the rest of the path
//! hard link:     length, bytes of the target's path
//! others but whiteouts and opaque marks:
//!   mode, uid, gid, mtime's seconds (zigzag), nanoseconds
//!   xattrs, if any: their number, then length, name, length, value of each
//!   file: size   symlink: length, target   device: number
//!   but directories: SETTLED: inode block, offset in 32-byte slots; else the content's first block
//! ```

mod read;
mod write;

pub use read::{Damage, Records, Table, XattrList, decode_xattrs};
pub use write::TableWriter;

use super::{Attributes, Time};
use xxhash_rust::xxh3::xxh3_64;
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAGIC: [u8; 8] = *b"vmrunLay";
const VERSION: u32 = 1;

#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: U32,
    /// Number of inode blocks.
    inode_blocks: U32,
    /// Number and bytes of records.
    entries: U64,
    record_bytes: U64,
    /// Length of the data file and its XXH3-128.
    data_bytes: U64,
    data_digest: [u8; 16],
    /// XXH3-128 of what follows the header.
    body_digest: [u8; 16],
    /// XXH3-64 of the header up to here.
    checksum: U64,
}

const HEADER: usize = size_of::<Header>();

const HAS_XATTRS: u8 = 0x10;
const SETTLED: u8 = 0x20;

/// Where an inode or its content is in the layer's data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The inode is finished: inode block, and bytes into it.
    Settled { block: u32, offset: u16 },
    /// The content begins at this block.
    Plain { block: u32 },
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    Directory,
    File { size: u64, place: Place },
    Symlink { target: &'a [u8], place: Place },
    CharacterDevice { number: u32, place: Place },
    BlockDevice { number: u32, place: Place },
    Fifo { place: Place },
    HardLink { target: &'a [u8] },
    Whiteout,
    Opaque,
}

impl Body<'_> {
    fn tag(&self) -> u8 {
        match self {
            Body::Directory => 0,
            Body::File { .. } => 1,
            Body::Symlink { .. } => 2,
            Body::CharacterDevice { .. } => 3,
            Body::BlockDevice { .. } => 4,
            Body::Fifo { .. } => 5,
            Body::HardLink { .. } => 6,
            Body::Whiteout => 7,
            Body::Opaque => 8,
        }
    }

    fn place(&self) -> Option<Place> {
        match *self {
            Body::File { place, .. }
            | Body::Symlink { place, .. }
            | Body::CharacterDevice { place, .. }
            | Body::BlockDevice { place, .. }
            | Body::Fifo { place } => Some(place),
            _ => None,
        }
    }

    /// Whether entries of this kind have attributes of their own.
    pub fn has_attributes(&self) -> bool {
        !matches!(self, Body::HardLink { .. } | Body::Whiteout | Body::Opaque)
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Below the root, without leading or trailing slashes; of a whiteout, what it hides; of an opaque mark,
    /// the directory.
    pub path: &'a [u8],
    pub body: Body<'a>,
    pub attributes: Attributes,
    /// Encoded: see [`decode_xattrs`]. Empty if there are none.
    pub xattrs: &'a [u8],
}

impl Header {
    fn sum(&self) -> u64 {
        xxh3_64(&self.as_bytes()[..HEADER - size_of::<U64>()])
    }
}

#[cfg(test)]
#[path = "table_test.rs"]
mod tests;
