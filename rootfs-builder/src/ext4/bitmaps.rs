//! Which blocks and inodes are used: bitmaps, and the counts in group descriptors.

use super::format::{BLOCK, GroupDescriptor, RESERVED_INODES};
use super::geometry::Geometry;
use std::ops::Range;

/// Rows of used blocks that follow one another.
pub struct UsedBlocks {
    rows: Vec<Range<u32>>,
    /// The first row that may reach beyond what was asked for last.
    next: usize,
}

impl UsedBlocks {
    pub fn new(mut rows: Vec<Range<u32>>) -> UsedBlocks {
        rows.sort_unstable_by_key(|row| row.start);
        UsedBlocks { rows, next: 0 }
    }

    /// The used blocks among some; these are asked for from first to last.
    fn among(&mut self, blocks: &Range<u32>) -> impl Iterator<Item = Range<u32>> {
        while self.rows.get(self.next).is_some_and(|row| row.end <= blocks.start) {
            self.next += 1;
        }
        let rows = self.rows[self.next..].iter().take_while(|row| row.start < blocks.end);
        rows.map(|row| row.start.max(blocks.start)..row.end.min(blocks.end))
    }
}

/// A bitmap of one block in which some bits are set.
fn set(bitmap: &mut [u8], bits: Range<u32>) {
    let (first, last) = (bits.start.next_multiple_of(8).min(bits.end), bits.end & !7);
    let mut single = |bit: u32| bitmap[bit as usize / 8] |= 1 << (bit % 8);
    (bits.start..first).for_each(&mut single);
    (last.max(first)..bits.end).for_each(&mut single);
    if first < last {
        bitmap[first as usize / 8..last as usize / 8].fill(0xff);
    }
}

fn count(bitmap: &[u8]) -> u32 {
    bitmap.iter().map(|byte| byte.count_ones()).sum()
}

/// What the groups say of themselves besides their bitmaps.
pub struct Groups {
    pub descriptors: Vec<GroupDescriptor>,
    pub free_blocks: u32,
    pub free_inodes: u32,
}

/// Describes groups in which `used` blocks are, and as many inodes after the reserved ones; `directories` are
/// the numbers of those that are directories. Bitmaps are given to `put` with the numbers of their blocks.
pub fn describe<E>(
    geometry: &Geometry,
    used: &mut UsedBlocks,
    inodes: u32,
    directories: impl Iterator<Item = u32>,
    mut put: impl FnMut(u32, &[u8]) -> Result<(), E>,
) -> Result<Groups, E> {
    let mut groups =
        Groups { descriptors: Vec::with_capacity(geometry.groups as usize), free_blocks: 0, free_inodes: 0 };
    let mut directories_in = vec![0u16; geometry.groups as usize];
    for inode in directories {
        directories_in[((inode - 1) / geometry.inodes_per_group) as usize] += 1;
    }
    let bits = BLOCK as u32 * 8;
    let mut bitmap = vec![0; BLOCK];
    for group in 0..geometry.groups {
        let begin = group * geometry.blocks_per_group;
        let length = geometry.blocks_per_group.min(geometry.blocks - begin);
        bitmap.fill(0);
        for row in used.among(&(begin..begin + length)) {
            set(&mut bitmap, row.start - begin..row.end - begin);
        }
        let free_blocks = length - count(&bitmap);
        // Bits of what is not there are set.
        set(&mut bitmap, length..bits);
        put(geometry.block_bitmaps() + group, &bitmap)?;

        let before = u64::from(group) * u64::from(geometry.inodes_per_group);
        let taken = u64::from(inodes + RESERVED_INODES).saturating_sub(before);
        let taken = taken.min(geometry.inodes_per_group.into()) as u32;
        bitmap.fill(0);
        set(&mut bitmap, 0..taken);
        set(&mut bitmap, geometry.inodes_per_group..bits);
        put(geometry.inode_bitmaps() + group, &bitmap)?;
        let free_inodes = geometry.inodes_per_group - taken;

        groups.free_blocks += free_blocks;
        groups.free_inodes += free_inodes;
        groups.descriptors.push(GroupDescriptor {
            block_bitmap: (geometry.block_bitmaps() + group).into(),
            inode_bitmap: (geometry.inode_bitmaps() + group).into(),
            inode_table: (geometry.inode_tables() + group * geometry.table_blocks()).into(),
            free_blocks: (free_blocks as u16).into(),
            free_inodes: (free_inodes as u16).into(),
            directories: directories_in[group as usize].into(),
            ..GroupDescriptor::default()
        });
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_bits_are_set_and_no_others() {
        for (from, to) in [(0u32, 0u32), (0, 1), (3, 5), (7, 9), (8, 16), (1, 31), (0, 64), (63, 64), (9, 9)]
        {
            let mut bitmap = [0; 8];
            set(&mut bitmap, from..to);
            for bit in 0..64 {
                assert_eq!(
                    bitmap[bit as usize / 8] >> (bit % 8) & 1 == 1,
                    (from..to).contains(&bit),
                    "{from} {to}"
                );
            }
        }
    }

    #[test]
    fn blocks_are_counted_across_groups() {
        let geometry = Geometry::new(20, 70_000, 1000).unwrap();
        let rows = vec![geometry.parts..geometry.parts + 7, 0..40_000];
        let mut set_bits = 0;
        let mut used = UsedBlocks::new(rows);
        let groups = describe(&geometry, &mut used, 20, [2, 11, 12].into_iter(), |block, bitmap| {
            if block < geometry.inode_bitmaps() {
                set_bits += count(bitmap);
            }
            Ok::<(), ()>(())
        });
        let groups = groups.unwrap();
        assert_eq!(groups.free_blocks, geometry.blocks - 40_007);
        assert_eq!(groups.free_inodes, geometry.groups * geometry.inodes_per_group - 30);
        assert_eq!(geometry.groups * 32_768 - set_bits, groups.free_blocks);
        assert_eq!(groups.descriptors[0].directories.get() + groups.descriptors[1].directories.get(), 3);
    }
}
