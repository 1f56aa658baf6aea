//! The EROFS on-disk format as far as uncompressed images need it (Linux, `fs/erofs/erofs_fs.h`).
//! All numbers are little-endian.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a block.
pub const BLOCK: usize = 4096;
/// Where the super block begins, in bytes.
pub const SUPER_OFFSET: usize = 1024;
pub const SUPER_MAGIC: u32 = 0xe0f5_e1e2;
/// The super block carries a CRC-32C over the rest of its block.
pub const COMPAT_CHECKSUM: u32 = 1;
/// Times are modification times.
pub const COMPAT_MTIME: u32 = 2;

/// Inodes begin at multiples of this many bytes; a nid counts them.
pub const SLOT: usize = 32;

#[derive(IntoBytes, Immutable, KnownLayout, Unaligned, Default)]
#[repr(C)]
pub struct SuperBlock {
    pub magic: U32,
    /// CRC-32C from the super block's begin to the end of its block, taken with this field zero.
    pub checksum: U32,
    pub feature_compat: U32,
    /// Block size as a power of two.
    pub block_bits: u8,
    pub extension_slots: u8,
    pub root_nid: U16,
    pub inodes: U64,
    /// The modification time of all compact inodes.
    pub epoch: U64,
    pub epoch_nanoseconds: U32,
    /// Blocks of the whole image.
    pub blocks: U32,
    /// The block from which nids count.
    pub meta_block: U32,
    /// The block from which shared xattrs' ids count.
    pub xattr_block: U32,
    pub uuid: [u8; 16],
    pub volume_name: [u8; 16],
    pub feature_incompat: U32,
    pub compression: U16,
    pub extra_devices: U16,
    pub device_table_slot: U16,
    pub directory_block_bits: u8,
    pub xattr_prefix_count: u8,
    pub xattr_prefix_start: U32,
    pub packed_nid: U64,
    pub reserved: [u8; 24],
}

/// How an inode's content is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Whole blocks, one after another.
    Plain = 0,
    /// As plain, but what is beyond the last whole block follows the inode.
    Inline = 2,
}

/// The 32-byte inode: small owners, link counts and sizes, and the super block's time.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CompactInode {
    pub format: U16,
    pub xattr_count: U16,
    pub mode: U16,
    pub nlink: U16,
    pub size: U32,
    pub reserved: U32,
    /// First block of the content, or a device number.
    pub union: U32,
    pub ino: U32,
    pub uid: U16,
    pub gid: U16,
    pub reserved2: U32,
}

/// The 64-byte inode.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ExtendedInode {
    pub format: U16,
    pub xattr_count: U16,
    pub mode: U16,
    pub reserved: U16,
    pub size: U64,
    /// First block of the content, or a device number.
    pub union: U32,
    pub ino: U32,
    pub uid: U32,
    pub gid: U32,
    pub mtime: U64,
    pub mtime_nanoseconds: U32,
    pub nlink: U32,
    pub reserved2: [u8; 16],
}

pub const COMPACT_INODE: usize = size_of::<CompactInode>();
pub const EXTENDED_INODE: usize = size_of::<ExtendedInode>();

/// What follows an inode that has xattrs; then the ids of shared ones, then the others.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned, Default)]
#[repr(C)]
pub struct XattrHeader {
    pub name_filter: U32,
    pub shared_count: u8,
    pub reserved: [u8; 7],
}

pub const XATTR_HEADER: usize = size_of::<XattrHeader>();

/// An xattr; its name without the prefix and its value follow, padded to 4 bytes.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct XattrEntry {
    pub name_length: u8,
    pub prefix: u8,
    pub value_size: U16,
}

pub const XATTR_ENTRY: usize = size_of::<XattrEntry>();

/// A directory entry. A directory block holds its entries, then their names, both sorted by name.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DirectoryEntry {
    pub nid: U64,
    /// Where the name begins in the block.
    pub name_offset: U16,
    pub file_type: u8,
    pub reserved: u8,
}

pub const DIRECTORY_ENTRY: usize = size_of::<DirectoryEntry>();

/// File types of directory entries.
pub const TYPE_FILE: u8 = 1;
pub const TYPE_DIRECTORY: u8 = 2;
pub const TYPE_CHARACTER_DEVICE: u8 = 3;
pub const TYPE_BLOCK_DEVICE: u8 = 4;
pub const TYPE_FIFO: u8 = 5;
pub const TYPE_SYMLINK: u8 = 7;

const _: () = {
    assert!(size_of::<SuperBlock>() == 128);
    assert!(COMPACT_INODE == 32 && EXTENDED_INODE == 64);
    assert!(XATTR_HEADER == 12 && XATTR_ENTRY == 4 && DIRECTORY_ENTRY == 12);
};
