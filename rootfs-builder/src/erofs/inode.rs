//! Encoding inodes.

use super::format::{CompactInode, ExtendedInode, Layout};
use crate::layer::{Attributes, FileType, Time};
use zerocopy::IntoBytes;

/// An inode without what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Inode<'a> {
    pub file_type: FileType,
    pub attributes: &'a Attributes,
    pub nlink: u32,
    /// Bytes of the content.
    pub size: u64,
    pub layout: Layout,
    /// First block of the content, or a device number.
    pub union: u32,
    /// Bytes of the xattrs that follow the inode.
    pub xattr_bytes: usize,
    pub ino: u32,
}

/// The one time that compact inodes can have.
pub type Epoch = Time;

/// Whether 32 bytes can hold an inode with these properties.
pub fn fits_compact(attributes: &Attributes, nlink: u32, size: u64, epoch: Epoch) -> bool {
    attributes.mtime == epoch
        && nlink <= u32::from(u16::MAX)
        && size <= u64::from(u32::MAX)
        && attributes.uid <= u32::from(u16::MAX)
        && attributes.gid <= u32::from(u16::MAX)
}

impl Inode<'_> {
    fn format(&self) -> u16 {
        (self.layout as u16) << 1
    }

    fn mode(&self) -> u16 {
        self.file_type.mode_bits() | self.attributes.mode
    }

    /// The 32-byte form, for an inode that [`fits_compact`].
    pub fn write_compact(&self, out: &mut Vec<u8>) {
        let inode = CompactInode {
            format: self.format().into(),
            xattr_count: super::xattr::count_field(self.xattr_bytes).into(),
            mode: self.mode().into(),
            nlink: (self.nlink as u16).into(),
            size: (self.size as u32).into(),
            reserved: 0.into(),
            union: self.union.into(),
            ino: self.ino.into(),
            uid: (self.attributes.uid as u16).into(),
            gid: (self.attributes.gid as u16).into(),
            reserved2: 0.into(),
        };
        out.extend_from_slice(inode.as_bytes());
    }

    /// The 64-byte form.
    pub fn write_extended(&self, out: &mut Vec<u8>) {
        let inode = ExtendedInode {
            format: (self.format() | 1).into(),
            xattr_count: super::xattr::count_field(self.xattr_bytes).into(),
            mode: self.mode().into(),
            reserved: 0.into(),
            size: self.size.into(),
            union: self.union.into(),
            ino: self.ino.into(),
            uid: self.attributes.uid.into(),
            gid: self.attributes.gid.into(),
            mtime: (self.attributes.mtime.seconds as u64).into(),
            mtime_nanoseconds: self.attributes.mtime.nanoseconds.into(),
            nlink: self.nlink.into(),
            reserved2: [0; 16],
        };
        out.extend_from_slice(inode.as_bytes());
    }
}

/// A device number as Linux encodes it in 32 bits (`new_encode_dev`).
pub fn device_number((major, minor): (u32, u32)) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}
