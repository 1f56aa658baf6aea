//! Walks an ext4 and asserts what a kernel relies on, and that bitmaps and counts are what is found on the way.

use std::collections::{HashMap, HashSet};

const BLOCK: usize = 4096;

fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(wide)
}

struct Disk<'a> {
    bytes: &'a [u8],
    inodes_per_group: u64,
    /// Blocks that something claims, each once; those of xattrs with the inodes that have them.
    used: HashSet<u64>,
    xattr_blocks: HashMap<u64, u64>,
}

struct Inode<'a> {
    bytes: &'a [u8],
    mode: u64,
    size: u64,
    links: u64,
    blocks: Vec<u64>,
}

impl<'a> Disk<'a> {
    fn block(&self, block: u64) -> &'a [u8] {
        &self.bytes[block as usize * BLOCK..][..BLOCK]
    }

    fn claim(&mut self, block: u64) {
        assert!((block as usize) < self.bytes.len() / BLOCK, "beyond the disk");
        assert!(self.used.insert(block), "block {block} has two owners");
    }

    fn descriptor(&self, group: u64) -> &'a [u8] {
        &self.bytes[BLOCK + group as usize * 32..][..32]
    }

    fn raw_inode(&self, number_of_it: u64) -> &'a [u8] {
        let (group, index) =
            ((number_of_it - 1) / self.inodes_per_group, (number_of_it - 1) % self.inodes_per_group);
        let table = number::<4>(self.descriptor(group), 8);
        &self.bytes[table as usize * BLOCK + index as usize * 256..][..256]
    }

    /// Reads an inode for the first time.
    fn inode(&mut self, number_of_it: u64) -> Inode<'a> {
        let bytes = self.raw_inode(number_of_it);
        let mode = number::<2>(bytes, 0);
        let size = number::<4>(bytes, 4) | number::<4>(bytes, 108) << 32;
        let mut inode = Inode { bytes, mode, size, links: number::<2>(bytes, 26), blocks: Vec::new() };
        let mut claimed = 0;
        if number::<4>(bytes, 32) == 0x8_0000 {
            claimed = self.extents(&bytes[40..100], &mut inode.blocks, None);
            assert_eq!(inode.blocks.len() as u64, size.div_ceil(BLOCK as u64), "content of another size");
        } else {
            assert_eq!(number::<4>(bytes, 32), 0, "flags");
            assert!(mode >> 12 != 8 && mode >> 12 != 4, "content without extents");
        }
        assert_eq!(number::<2>(bytes, 128), 32);
        if bytes[160..164] != [0; 4] {
            assert_eq!(number::<4>(bytes, 160), 0xea02_0000);
            xattrs(&bytes[164..], 0);
        }
        let xattr_block = number::<4>(bytes, 104);
        if xattr_block != 0 {
            claimed += 1;
            *self.xattr_blocks.entry(xattr_block).or_default() += 1;
        }
        assert_eq!(number::<4>(bytes, 28), claimed * 8, "sectors");
        inode
    }

    /// Follows an extent tree; the blocks that it takes are returned.
    fn extents(&mut self, node: &[u8], out: &mut Vec<u64>, depth: Option<u64>) -> u64 {
        assert_eq!(number::<2>(node, 0), 0xf30a);
        let (entries, own) = (number::<2>(node, 2), number::<2>(node, 6));
        assert!(entries <= number::<2>(node, 4) && depth.is_none_or(|depth| depth == own + 1));
        let mut claimed = 0;
        for entry in node[12..].chunks(12).take(entries as usize) {
            assert_eq!(number::<4>(entry, 0), out.len() as u64, "a gap");
            if own > 0 {
                let child = number::<4>(entry, 4);
                self.claim(child);
                claimed += 1 + self.extents(self.block(child), out, Some(own));
                continue;
            }
            let length = number::<2>(entry, 4);
            assert!((1..=0x8000).contains(&length));
            for block in number::<4>(entry, 8)..number::<4>(entry, 8) + length {
                self.claim(block);
                out.push(block);
            }
            claimed += length;
        }
        claimed
    }

    fn content(&self, inode: &Inode<'_>) -> Vec<u8> {
        inode.blocks.iter().flat_map(|&block| self.block(block)).copied().collect()
    }
}

/// Entries in the order in which Linux looks for them, and values that are all there.
fn xattrs(area: &[u8], first: usize) {
    let mut at = first;
    let mut previous = None;
    let mut lowest = area.len();
    while area[at..at + 4] != [0; 4] {
        let (length, prefix) = (usize::from(area[at]), area[at + 1]);
        let name = &area[at + 16..at + 16 + length];
        assert!([1, 2, 3, 4, 6].contains(&prefix) && number::<4>(area, at + 4) == 0);
        let key = (prefix, length, name.to_vec());
        assert!(previous.as_ref().is_none_or(|previous| *previous < key), "xattrs not sorted");
        previous = Some(key);
        let (offset, size) = (number::<2>(area, at + 2) as usize, number::<4>(area, at + 8) as usize);
        if size > 0 {
            assert!(offset % 4 == 0 && offset + size <= area.len());
            lowest = lowest.min(offset);
        }
        at = (at + 16 + length).next_multiple_of(4);
    }
    assert!(at + 4 <= lowest, "values among the entries");
}

/// Checks everything; how many inodes the root leads to.
pub fn check(bytes: &[u8]) -> u64 {
    let of_super = |at: usize| number::<4>(bytes, 1024 + at);
    assert_eq!(number::<2>(bytes, 1024 + 0x38), 0xef53);
    let (blocks, per_group, inodes_per_group) = (of_super(4), of_super(32), of_super(40));
    assert_eq!(blocks as usize * BLOCK, bytes.len());
    let groups = blocks.div_ceil(per_group);
    assert_eq!(of_super(0), groups * inodes_per_group);
    let mut disk = Disk { bytes, inodes_per_group, used: HashSet::new(), xattr_blocks: HashMap::new() };
    for block in 0..1 + (groups * 32).div_ceil(BLOCK as u64) {
        disk.claim(block);
    }
    for group in 0..groups {
        let descriptor = disk.descriptor(group);
        disk.claim(number::<4>(descriptor, 0));
        disk.claim(number::<4>(descriptor, 4));
        let table = number::<4>(descriptor, 8);
        (table..table + inodes_per_group / 16).for_each(|block| disk.claim(block));
    }
    let seen = walk(&mut disk);
    for (block, references) in std::mem::take(&mut disk.xattr_blocks) {
        disk.claim(block);
        let block = disk.block(block);
        assert_eq!((number::<4>(block, 0), number::<4>(block, 8)), (0xea02_0000, 1));
        assert_eq!(number::<4>(block, 4), references, "users of an xattr block");
        xattrs(block, 32);
    }
    let reserved = 1..=10;
    let all_inodes: HashSet<u64> = seen.iter().copied().chain(reserved).map(|inode| inode - 1).collect();
    for group in 0..groups {
        let descriptor = disk.descriptor(group);
        let first = group * per_group;
        let expected = bitmap(&disk.used, first, per_group.min(blocks - first));
        assert!(disk.block(number::<4>(descriptor, 0)) == expected, "block bitmap");
        let expected = bitmap(&all_inodes, group * inodes_per_group, inodes_per_group);
        assert!(disk.block(number::<4>(descriptor, 4)) == expected, "inode bitmap");
    }
    assert_eq!(of_super(12), blocks - disk.used.len() as u64, "free blocks");
    assert_eq!(of_super(16), of_super(0) - 10 - (seen.len() as u64 - 1), "free inodes");
    seen.len() as u64
}

/// The bitmap of a group of `length` that begins with `first`; what is behind its end is said to be used.
fn bitmap(used: &HashSet<u64>, first: u64, length: u64) -> Vec<u8> {
    let mut bitmap = vec![0; BLOCK];
    let here =
        used.iter().filter(|number| (first..first + length).contains(number)).map(|number| number - first);
    here.chain(length..BLOCK as u64 * 8).for_each(|bit| bitmap[bit as usize / 8] |= 1 << (bit % 8));
    bitmap
}

fn walk(disk: &mut Disk<'_>) -> HashSet<u64> {
    let mut seen = HashSet::from([2]);
    let mut linked = HashMap::<u64, u64>::new();
    let mut directories = vec![(2, 2)];
    while let Some((itself, parent)) = directories.pop() {
        let directory = disk.inode(itself);
        assert_eq!(directory.mode >> 12, 4);
        let mut subdirectories = 0;
        let content = disk.content(&directory);
        let (mut at, mut count) = (0, 0);
        while at < content.len() {
            let (child, length) = (number::<4>(&content, at), number::<2>(&content, at + 4) as usize);
            let name = &content[at + 8..at + 8 + usize::from(content[at + 6])];
            assert!(length % 4 == 0 && length >= 8 + name.len() && at / BLOCK == (at + length - 1) / BLOCK);
            assert!(!name.is_empty() && !name.contains(&b'/') && !name.contains(&0));
            match (count, name) {
                (0, b".") => assert_eq!(child, itself),
                (1, b"..") => assert_eq!(child, parent),
                _ => {
                    assert!(count > 1 && name != b"." && name != b"..");
                    let first = seen.insert(child);
                    let mode = number::<2>(disk.raw_inode(child), 0);
                    let kind = [0, 5, 3, 0, 2, 0, 4, 0, 1, 0, 7][(mode >> 12) as usize];
                    assert_eq!(content[at + 7], kind, "file type");
                    match kind {
                        2 => {
                            assert!(first, "a directory with two names");
                            subdirectories += 1;
                            directories.push((child, itself));
                        }
                        _ if first => {
                            let file = disk.inode(child);
                            let target = kind == 7 && file.blocks.is_empty();
                            assert!(!target || (1..60).contains(&file.size) && file.bytes[40] != 0);
                            linked.insert(child, 1);
                        }
                        _ => *linked.entry(child).or_default() += 1,
                    }
                }
            }
            at += length;
            count += 1;
        }
        assert_eq!(directory.links, subdirectories + 2);
    }
    for (inode, links) in linked {
        assert_eq!(number::<2>(disk.raw_inode(inode), 26), links);
    }
    seen
}
