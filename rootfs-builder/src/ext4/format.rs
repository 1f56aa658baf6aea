//! The ext4 on-disk format as far as read-only images need it (Linux, `Documentation/filesystems/ext4`). All
//! numbers are little-endian.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a block.
pub const BLOCK: usize = 4096;
/// Where the super block begins, in bytes.
pub const SUPER_OFFSET: usize = 1024;
pub const SUPER_MAGIC: u16 = 0xef53;
/// Cleanly unmounted.
pub const STATE_VALID: u16 = 1;
/// After errors the file system is used as before.
pub const ERRORS_CONTINUE: u16 = 1;
/// Inode sizes and features are as the super block says.
pub const REVISION: u32 = 1;
/// No mount is one too many.
pub const MOUNTS_UNLIMITED: u16 = u16::MAX;

pub const COMPAT_EXT_ATTR: u32 = 0x8;
/// Copies of the super block are in the two groups that it names, and group 0 stands for none. So contents
/// can be anywhere.
pub const COMPAT_SPARSE_SUPER2: u32 = 0x200;
pub const INCOMPAT_FILETYPE: u32 = 0x2;
pub const INCOMPAT_EXTENTS: u32 = 0x40;
/// Bitmaps and inode tables can be outside of their groups.
pub const INCOMPAT_FLEX_BG: u32 = 0x200;
pub const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
pub const RO_COMPAT_LARGE_FILE: u32 = 0x2;
pub const RO_COMPAT_HUGE_FILE: u32 = 0x8;
/// A directory with more subdirectories than it can count says 1.
pub const RO_COMPAT_DIR_NLINK: u32 = 0x20;
pub const RO_COMPAT_EXTRA_ISIZE: u32 = 0x40;

/// What our images have.
pub const FEATURES_COMPAT: u32 = COMPAT_EXT_ATTR | COMPAT_SPARSE_SUPER2;
pub const FEATURES_INCOMPAT: u32 = INCOMPAT_FILETYPE | INCOMPAT_EXTENTS | INCOMPAT_FLEX_BG;
pub const FEATURES_RO_COMPAT: u32 = RO_COMPAT_SPARSE_SUPER
    | RO_COMPAT_LARGE_FILE
    | RO_COMPAT_HUGE_FILE
    | RO_COMPAT_DIR_NLINK
    | RO_COMPAT_EXTRA_ISIZE;

/// Mounted with user xattrs and ACLs unless it is asked otherwise.
pub const MOUNT_XATTR_USER_ACL: u32 = 0x4 | 0x8;
/// Directory hashes take characters as unsigned.
pub const FLAG_UNSIGNED_HASH: u32 = 0x2;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Default)]
#[repr(C)]
pub struct SuperBlock {
    pub inodes: U32,
    pub blocks: U32,
    pub reserved_blocks: U32,
    pub free_blocks: U32,
    pub free_inodes: U32,
    pub first_data_block: U32,
    /// Block size as a power of two, from 1024.
    pub log_block_size: U32,
    pub log_cluster_size: U32,
    pub blocks_per_group: U32,
    pub clusters_per_group: U32,
    pub inodes_per_group: U32,
    pub mount_time: U32,
    pub write_time: U32,
    pub mounts: U16,
    pub max_mounts: U16,
    pub magic: U16,
    pub state: U16,
    pub errors: U16,
    pub minor_revision: U16,
    pub last_check: U32,
    pub check_interval: U32,
    pub creator_os: U32,
    pub revision: U32,
    pub reserved_uid: U16,
    pub reserved_gid: U16,
    pub first_inode: U32,
    pub inode_size: U16,
    pub group: U16,
    pub feature_compat: U32,
    pub feature_incompat: U32,
    pub feature_ro_compat: U32,
    pub uuid: [u8; 16],
    pub volume_name: [u8; 16],
    pub last_mounted: [[u8; 16]; 4],
    pub algorithms: U32,
    pub preallocated: [u8; 2],
    pub reserved_descriptors: U16,
    pub journal: [u8; 28],
    pub hash_seed: [u8; 16],
    pub hash_version: u8,
    pub journal_backup_type: u8,
    pub descriptor_size: U16,
    pub mount_options: U32,
    pub first_meta_group: U32,
    pub made: U32,
    pub journal_blocks: [[u8; 4]; 17],
    pub blocks_high: U32,
    pub reserved_blocks_high: U32,
    pub free_blocks_high: U32,
    pub min_extra_size: U16,
    pub want_extra_size: U16,
    pub flags: U32,
    pub raid_stride: U16,
    pub multi_mount: [u8; 10],
    pub raid_stripe: U32,
    pub log_groups_per_flex: u8,
    pub checksum_type: u8,
    pub reserved: U16,
    pub written: U64,
    // What follows is zero.
}

#[derive(IntoBytes, Immutable, KnownLayout, Unaligned, Default)]
#[repr(C)]
pub struct GroupDescriptor {
    pub block_bitmap: U32,
    pub inode_bitmap: U32,
    pub inode_table: U32,
    pub free_blocks: U16,
    pub free_inodes: U16,
    pub directories: U16,
    pub flags: U16,
    pub exclude_bitmap: U32,
    pub bitmap_checksums: [u8; 4],
    pub unused_inodes: U16,
    pub checksum: U16,
}

pub const GROUP_DESCRIPTOR: usize = size_of::<GroupDescriptor>();

/// Bytes of an inode with the xattrs that are in it.
pub const INODE: usize = 256;
pub const INODES_PER_BLOCK: u32 = (BLOCK / INODE) as u32;
/// Inodes are counted from 1; these first ones are the format's own, all unused but the root.
pub const RESERVED_INODES: u32 = 10;
pub const ROOT_INODE: u32 = 2;
/// `block` holds an extent tree.
pub const INODE_EXTENTS: u32 = 0x8_0000;
/// Bytes of `block`.
pub const INODE_BLOCK: usize = 60;
/// What an inode has beyond the 128 bytes of ext2, in bytes.
pub const EXTRA_SIZE: usize = 32;
/// More names than this no file can have, nor a directory subdirectories.
pub const MAX_LINKS: u32 = 65_000;

#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Inode {
    pub mode: U16,
    pub uid: U16,
    pub size: U32,
    pub atime: U32,
    pub ctime: U32,
    pub mtime: U32,
    pub dtime: U32,
    pub gid: U16,
    pub links: U16,
    /// Of 512 bytes each.
    pub sectors: U32,
    pub flags: U32,
    pub version: U32,
    /// The extent tree's root, a device number, or the target of a short symbolic link.
    pub block: [u8; INODE_BLOCK],
    pub generation: U32,
    pub xattr_block: U32,
    pub size_high: U32,
    pub fragment: U32,
    pub sectors_high: U16,
    pub xattr_block_high: U16,
    pub uid_high: U16,
    pub gid_high: U16,
    pub checksum: U16,
    pub reserved: U16,
    pub extra_size: U16,
    pub checksum_high: U16,
    pub ctime_extra: U32,
    pub mtime_extra: U32,
    pub atime_extra: U32,
    pub crtime: U32,
    pub crtime_extra: U32,
    pub version_high: U32,
    pub project: U32,
}

/// What begins an inode's xattrs, in the inode and in a block of their own.
pub const XATTR_MAGIC: u32 = 0xea02_0000;
/// Bytes for xattrs in an inode, the magic number among them.
pub const INODE_XATTRS: usize = INODE - size_of::<Inode>();

#[derive(IntoBytes, Immutable, KnownLayout, Unaligned, Default)]
#[repr(C)]
pub struct XattrBlockHeader {
    pub magic: U32,
    /// Inodes that have these xattrs.
    pub references: U32,
    pub blocks: U32,
    pub hash: U32,
    pub checksum: U32,
    pub reserved: [u8; 12],
}

pub const XATTR_BLOCK_HEADER: usize = size_of::<XattrBlockHeader>();

/// An xattr; its name without the prefix follows, padded to 4 bytes.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct XattrEntry {
    pub name_length: u8,
    pub prefix: u8,
    /// From the begin of the block; in an inode, from the first entry.
    pub value_offset: U16,
    pub value_inode: U32,
    pub value_size: U32,
    pub hash: U32,
}

pub const XATTR_ENTRY: usize = size_of::<XattrEntry>();

/// What begins a node of an extent tree.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ExtentHeader {
    pub magic: U16,
    pub entries: U16,
    pub capacity: U16,
    /// 0 for a leaf.
    pub depth: U16,
    pub generation: U32,
}

pub const EXTENT_MAGIC: u16 = 0xf30a;

/// A row of blocks, in a leaf.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Extent {
    /// The first of them, counted from the begin of the file.
    pub logical: U32,
    pub length: U16,
    pub physical_high: U16,
    pub physical: U32,
}

/// A node further down, in a node that is no leaf.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ExtentIndex {
    pub logical: U32,
    pub node: U32,
    pub node_high: U16,
    pub unused: U16,
}

pub const EXTENT: usize = size_of::<Extent>();
/// Blocks of one extent.
pub const MAX_EXTENT: u32 = 1 << 15;

/// A directory entry; its name follows, padded to 4 bytes.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct DirectoryEntry {
    pub inode: U32,
    /// Bytes to the next entry, or to the block's end.
    pub length: U16,
    pub name_length: u8,
    /// The same numbers as in EROFS.
    pub file_type: u8,
}

pub const DIRECTORY_ENTRY: usize = size_of::<DirectoryEntry>();

const _: () = {
    assert!(size_of::<SuperBlock>() == 0x180);
    assert!(GROUP_DESCRIPTOR == 32 && size_of::<Inode>() == 128 + EXTRA_SIZE);
    assert!(XATTR_BLOCK_HEADER == 32 && XATTR_ENTRY == 16 && DIRECTORY_ENTRY == 8);
    assert!(size_of::<ExtentHeader>() == EXTENT && size_of::<ExtentIndex>() == EXTENT && EXTENT == 12);
};
