//! Walks an image and asserts what a kernel relies on.

use std::collections::HashSet;

const BLOCK: usize = 4096;

fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(wide)
}

struct Inode {
    mode: u64,
    size: usize,
    nlink: u64,
    inlined: bool,
    /// First block, and where what is inlined begins.
    block: usize,
    tail: usize,
}

fn inode(disk: &[u8], nid: u64) -> Inode {
    let at = nid as usize * 32;
    let format = number::<2>(disk, at);
    let extended = format & 1 == 1;
    let layout = format >> 1;
    assert!(layout == 0 || layout == 2, "layout {layout}");
    let core = if extended { 64 } else { 32 };
    assert!(at % BLOCK + core <= BLOCK, "inode crosses a block");
    let xattrs = match number::<2>(disk, at + 2) as usize {
        0 => 0,
        count => 12 + 4 * (count - 1),
    };
    check_xattrs(disk, at + core, xattrs);
    let inode = Inode {
        mode: number::<2>(disk, at + 4),
        size: if extended { number::<8>(disk, at + 8) } else { number::<4>(disk, at + 8) } as usize,
        nlink: if extended { number::<4>(disk, at + 44) } else { number::<2>(disk, at + 6) },
        inlined: layout == 2,
        block: number::<4>(disk, at + 16) as usize,
        tail: at + core + xattrs,
    };
    let tail = inode.size % BLOCK;
    if inode.inlined {
        assert!(tail > 0 && inode.tail % BLOCK + tail <= BLOCK, "inlined content crosses a block");
    }
    if matches!(inode.mode >> 12, 4 | 8 | 10) && inode.size > 0 {
        let whole = if inode.inlined { inode.size / BLOCK } else { inode.size.div_ceil(BLOCK) };
        assert!(whole == 0 || (inode.block + whole) * BLOCK <= disk.len(), "content beyond the disk");
    }
    inode
}

fn check_xattrs(disk: &[u8], begin: usize, bytes: usize) {
    if bytes == 0 {
        return;
    }
    let xattr_base = number::<4>(disk, 1024 + 44) as usize * BLOCK;
    let shared = usize::from(disk[begin + 4]);
    for index in 0..shared {
        xattr_entry(disk, xattr_base + number::<4>(disk, begin + 12 + 4 * index) as usize * 4);
    }
    let mut at = begin + 12 + 4 * shared;
    while at < begin + bytes {
        at = xattr_entry(disk, at);
    }
    assert_eq!(at, begin + bytes);
}

fn xattr_entry(disk: &[u8], at: usize) -> usize {
    assert!((1..=6).contains(&disk[at + 1]), "xattr prefix");
    let end = at + 4 + usize::from(disk[at]) + number::<2>(disk, at + 2) as usize;
    assert!(end <= disk.len());
    end.next_multiple_of(4)
}

fn content(disk: &[u8], inode: &Inode) -> Vec<u8> {
    let tail = if inode.inlined { inode.size % BLOCK } else { 0 };
    let begin = inode.block * BLOCK;
    let mut content = match inode.size - tail {
        0 => Vec::new(),
        whole => disk[begin..begin + whole].to_vec(),
    };
    content.extend_from_slice(&disk[inode.tail..inode.tail + tail]);
    content
}

/// Checks everything that the root leads to; how many inodes that are.
pub fn check(disk: &[u8]) -> u64 {
    assert_eq!(number::<4>(disk, 1024), 0xe0f5_e1e2);
    assert_eq!(number::<4>(disk, 1024 + 36) as usize * BLOCK, disk.len());
    let root = number::<2>(disk, 1024 + 14);
    let mut seen = HashSet::from([root]);
    let mut linked = std::collections::HashMap::<u64, u64>::new();
    let mut directories = vec![(root, root)];
    while let Some((nid, parent)) = directories.pop() {
        let directory = inode(disk, nid);
        assert_eq!(directory.mode >> 12, 4);
        let mut subdirectories = 0;
        let mut previous: Vec<u8> = Vec::new();
        for block in content(disk, &directory).chunks(BLOCK) {
            let count = number::<2>(block, 8) as usize / 12;
            assert!(count > 0);
            for index in 0..count {
                let begin = number::<2>(block, index * 12 + 8) as usize;
                let end = match index + 1 < count {
                    true => number::<2>(block, index * 12 + 20) as usize,
                    false => begin + block[begin..].iter().take_while(|&&byte| byte != 0).count(),
                };
                let (name, child) = (&block[begin..end], number::<8>(block, index * 12));
                assert!((1..=255).contains(&name.len()) && !name.contains(&b'/') && !name.contains(&0));
                assert!(previous.is_empty() || previous.as_slice() < name, "names not sorted");
                previous = name.to_vec();
                match name {
                    b"." => assert_eq!(child, nid),
                    b".." => assert_eq!(child, parent),
                    _ => {
                        let first = seen.insert(child);
                        let file = inode(disk, child);
                        let kind = [0, 5, 3, 0, 2, 0, 4, 0, 1, 0, 7][(file.mode >> 12) as usize];
                        assert_eq!(block[index * 12 + 10], kind, "file type");
                        if kind == 2 {
                            assert!(first, "a directory with two names");
                            subdirectories += 1;
                            directories.push((child, nid));
                        } else {
                            *linked.entry(child).or_default() += 1;
                            content(
                                disk,
                                &Inode { size: if kind == 1 || kind == 7 { file.size } else { 0 }, ..file },
                            );
                        }
                    }
                }
            }
        }
        assert_eq!(directory.nlink, subdirectories + 2);
    }
    for (nid, links) in linked {
        assert_eq!(inode(disk, nid).nlink, links);
    }
    seen.len() as u64
}
