//! Encoding inodes.

use super::format::*;
use crate::layer::{Attributes, FileType, Time};
use zerocopy::IntoBytes;

/// What is to be said of an inode.
pub struct Described<'a> {
    pub file_type: FileType,
    pub attributes: &'a Attributes,
    pub links: u16,
    pub size: u64,
    /// Blocks that it takes, of its content, its extent tree and its xattrs.
    pub blocks: u64,
    pub has_extents: bool,
    pub block: [u8; INODE_BLOCK],
    pub xattr_block: u32,
    pub in_inode_xattrs: &'a [u8],
}

impl Described<'_> {
    /// The inode, [`INODE`] bytes.
    pub fn encode(&self) -> [u8; INODE] {
        let Attributes { mode, uid, gid, mtime } = *self.attributes;
        let (seconds, extra) = time(mtime);
        let sectors = self.blocks * (BLOCK as u64 / 512);
        let inode = Inode {
            mode: (self.file_type.mode_bits() | mode).into(),
            uid: (uid as u16).into(),
            size: (self.size as u32).into(),
            atime: seconds.into(),
            ctime: seconds.into(),
            mtime: seconds.into(),
            dtime: 0.into(),
            gid: (gid as u16).into(),
            links: self.links.into(),
            sectors: (sectors as u32).into(),
            flags: if self.has_extents { INODE_EXTENTS } else { 0 }.into(),
            version: 0.into(),
            block: self.block,
            generation: 0.into(),
            xattr_block: self.xattr_block.into(),
            size_high: ((self.size >> 32) as u32).into(),
            fragment: 0.into(),
            sectors_high: ((sectors >> 32) as u16).into(),
            xattr_block_high: 0.into(),
            uid_high: ((uid >> 16) as u16).into(),
            gid_high: ((gid >> 16) as u16).into(),
            checksum: 0.into(),
            reserved: 0.into(),
            extra_size: (EXTRA_SIZE as u16).into(),
            checksum_high: 0.into(),
            ctime_extra: extra.into(),
            mtime_extra: extra.into(),
            atime_extra: extra.into(),
            crtime: seconds.into(),
            crtime_extra: extra.into(),
            version_high: 0.into(),
            project: 0.into(),
        };
        let mut encoded = [0; INODE];
        encoded[..size_of::<Inode>()].copy_from_slice(inode.as_bytes());
        encoded[size_of::<Inode>()..][..self.in_inode_xattrs.len()].copy_from_slice(self.in_inode_xattrs);
        encoded
    }
}

/// A device number where an inode without content has it.
pub fn device(number: u32) -> [u8; INODE_BLOCK] {
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00);
    // Linux's older encoding comes first, where it suffices.
    let words = if major < 256 && minor < 256 { [major << 8 | minor, 0] } else { [0, number] };
    let mut block = [0; INODE_BLOCK];
    block[..4].copy_from_slice(&words[0].to_le_bytes());
    block[4..8].copy_from_slice(&words[1].to_le_bytes());
    block
}

/// ext4 can tell 1901 to 2446; other times are the nearest of these, as Linux would store them.
const FIRST: Time = Time { seconds: i32::MIN as i64, nanoseconds: 0 };
const LAST: Time = Time { seconds: (1 << 34) + i32::MIN as i64 - 1, nanoseconds: 999_999_999 };

/// The 32 bits of seconds that ext2 had, and what ext4 has besides.
fn time(time: Time) -> (u32, u32) {
    let Time { seconds, nanoseconds } = time.clamp(FIRST, LAST);
    let low = seconds as i32;
    let epoch = (seconds - i64::from(low)) >> 32;
    (low as u32, nanoseconds << 2 | epoch as u32 & 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux reads it.
    fn read((seconds, extra): (u32, u32)) -> (i64, u32) {
        (i64::from(seconds as i32) + (i64::from(extra & 3) << 32), extra >> 2)
    }

    #[test]
    fn times_before_and_long_after_1970() {
        for seconds in [0, -1, 1, i64::from(i32::MIN), 1 << 31, 1 << 32, 1 << 33, LAST.seconds] {
            let kept = read(time(Time { seconds, nanoseconds: 999_999_999 }));
            assert_eq!(kept, (seconds, 999_999_999));
        }
        assert_eq!(read(time(Time { seconds: i64::MIN, nanoseconds: 7 })), (FIRST.seconds, 0));
        assert_eq!(read(time(Time { seconds: i64::MAX, nanoseconds: 7 })).0, LAST.seconds);
    }

    #[test]
    fn device_numbers_of_both_kinds() {
        assert_eq!(device(0x0103)[..8], [3, 1, 0, 0, 0, 0, 0, 0]);
        let large = 0x1044 | 0xf_ff00 << 12;
        assert_eq!(device(large)[..4], [0; 4]);
        assert_eq!(device(large)[4..8], u32::to_le_bytes(large));
    }
}
