//! How a file system is divided into groups, and where its own blocks are.
//!
//! It is [super block | group descriptors | block bitmaps | inode bitmaps | inode tables | contents that are its
//! own | parts whose contents are others']. All bitmaps and all inode tables lie together, so an inode's place
//! follows from its number alone.

use super::format::{BLOCK, GROUP_DESCRIPTOR, INODES_PER_BLOCK, RESERVED_INODES};

/// What a bitmap of one block can tell apart.
const MOST_PER_GROUP: u32 = BLOCK as u32 * 8;
/// With groups this small, inode tables are the most of a file system before they are too large for a group.
const LEAST_PER_GROUP: u32 = 2048;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub groups: u32,
    pub blocks_per_group: u32,
    pub inodes_per_group: u32,
    pub descriptor_blocks: u32,
    /// Where contents begin.
    pub contents: u32,
    /// Where the parts behind the contents begin.
    pub parts: u32,
    /// All blocks.
    pub blocks: u32,
}

impl Geometry {
    /// For so many inodes, the reserved ones not among them, and so many blocks of contents and of parts behind
    /// them; none if the format cannot hold as much.
    pub fn new(inodes: u64, contents: u64, parts: u64) -> Option<Geometry> {
        let mut blocks_per_group = MOST_PER_GROUP;
        loop {
            let found = Geometry::with_groups(blocks_per_group, inodes, contents, parts)?;
            if found.inodes_per_group <= MOST_PER_GROUP || blocks_per_group == LEAST_PER_GROUP {
                return Some(found);
            }
            // Few blocks and many inodes: more groups are needed than the blocks alone would.
            blocks_per_group /= 2;
        }
    }

    fn with_groups(blocks_per_group: u32, inodes: u64, contents: u64, parts: u64) -> Option<Geometry> {
        let per_group = u64::from(blocks_per_group);
        let mut groups = 1;
        loop {
            let inodes_per_group = (inodes + u64::from(RESERVED_INODES))
                .div_ceil(groups)
                .next_multiple_of(u64::from(INODES_PER_BLOCK));
            let descriptor_blocks = (groups * GROUP_DESCRIPTOR as u64).div_ceil(BLOCK as u64);
            let tables = groups * inodes_per_group / u64::from(INODES_PER_BLOCK);
            let before = 1 + descriptor_blocks + 2 * groups + tables;
            let needed = before.checked_add(contents)?.checked_add(parts)?;
            if needed.div_ceil(per_group) > groups {
                groups = needed.div_ceil(per_group);
                continue;
            }
            // There may be one group more than is needed without it: then some blocks stay unused.
            let blocks = needed.max((groups - 1) * per_group + 1);
            return Some(Geometry {
                groups: u32::try_from(groups).ok()?,
                blocks_per_group,
                inodes_per_group: u32::try_from(inodes_per_group).ok()?,
                descriptor_blocks: descriptor_blocks as u32,
                contents: u32::try_from(before).ok()?,
                parts: u32::try_from(blocks - parts).ok()?,
                blocks: u32::try_from(blocks).ok()?,
            });
        }
    }

    pub fn block_bitmaps(&self) -> u32 {
        1 + self.descriptor_blocks
    }

    pub fn inode_bitmaps(&self) -> u32 {
        self.block_bitmaps() + self.groups
    }

    pub fn inode_tables(&self) -> u32 {
        self.inode_bitmaps() + self.groups
    }

    /// Blocks of one group's inodes.
    pub fn table_blocks(&self) -> u32 {
        self.inodes_per_group / INODES_PER_BLOCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_room_and_the_last_group_is_not_empty() {
        let sizes = [0u64, 1, 100, 32_600, 32_767, 32_768, 65_530, 1_000_000, 100_000_000];
        for inodes in [1u64, 6, 7, 5000, 32_758, 400_000, 3_000_000, 100_000_000] {
            for contents in sizes {
                for parts in sizes {
                    let geometry = Geometry::new(inodes, contents, parts).unwrap();
                    let Geometry { groups, blocks_per_group, inodes_per_group, blocks, .. } = geometry;
                    assert_eq!(blocks.div_ceil(blocks_per_group), groups, "{geometry:?}");
                    assert!(inodes_per_group <= MOST_PER_GROUP && inodes_per_group.is_multiple_of(16));
                    assert!(u64::from(groups) * u64::from(inodes_per_group) >= inodes + 10);
                    assert_eq!(geometry.inode_tables() + groups * geometry.table_blocks(), geometry.contents);
                    assert!(u64::from(geometry.parts - geometry.contents) >= contents);
                    assert_eq!(u64::from(blocks - geometry.parts), parts);
                    assert!(u64::from(geometry.descriptor_blocks) * 128 >= u64::from(groups));
                    assert!(geometry.contents < blocks_per_group || groups > 1);
                }
            }
        }
    }

    #[test]
    fn too_much_is_no_geometry() {
        assert_eq!(Geometry::new(1, 1 << 32, 0), None);
        assert_eq!(Geometry::new(1, 1, u64::MAX), None);
        assert_eq!(Geometry::new(u64::MAX >> 1, 1, 1), None);
        assert!(Geometry::new(1, 1, (1 << 32) - (1 << 20)).is_some());
    }
}
