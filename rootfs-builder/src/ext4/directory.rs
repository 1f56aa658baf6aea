//! Encoding directories: a row of entries, none of them across a block's boundary.

use super::format::{BLOCK, DIRECTORY_ENTRY, DirectoryEntry};
use zerocopy::IntoBytes;

/// One entry.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub name: &'a [u8],
    pub inode: u32,
    pub file_type: u8,
}

fn entry_bytes(name: &[u8]) -> usize {
    (DIRECTORY_ENTRY + name.len()).next_multiple_of(4)
}

/// The blocks of a directory with these names, in this order.
pub fn blocks<'a>(names: impl Iterator<Item = &'a [u8]>) -> u64 {
    let (mut blocks, mut used) = (0, BLOCK);
    for name in names {
        let bytes = entry_bytes(name);
        if used + bytes > BLOCK {
            blocks += 1;
            used = 0;
        }
        used += bytes;
    }
    blocks
}

/// Encodes entries; the last one of each block reaches to its end.
pub fn encode<'a>(entries: impl Iterator<Item = Entry<'a>>, out: &mut Vec<u8>) {
    let begin = out.len();
    let mut last = begin;
    for entry in entries {
        let bytes = entry_bytes(entry.name);
        let used = (out.len() - begin) % BLOCK;
        if used + bytes > BLOCK {
            fill(last, out, begin);
        }
        last = out.len();
        let encoded = DirectoryEntry {
            inode: entry.inode.into(),
            length: (bytes as u16).into(),
            name_length: entry.name.len() as u8,
            file_type: entry.file_type,
        };
        out.extend_from_slice(encoded.as_bytes());
        out.extend_from_slice(entry.name);
        out.resize(last + bytes, 0);
    }
    fill(last, out, begin);
}

/// Has the entry at `last` reach to the end of its block.
fn fill(last: usize, out: &mut Vec<u8>, begin: usize) {
    let end = begin + (out.len() - begin).next_multiple_of(BLOCK);
    if end > last {
        out.resize(end, 0);
        out[last + 4..last + 6].copy_from_slice(&((end - last) as u16).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_what_is_encoded() {
        for count in [1usize, 2, 100, 341, 342, 5000] {
            let names: Vec<Vec<u8>> =
                (0..count).map(|n| format!("{n:0w$}", w = n % 255 + 1).into()).collect();
            let mut out = Vec::new();
            encode(names.iter().map(|name| Entry { name, inode: 36, file_type: 1 }), &mut out);
            assert_eq!(out.len() as u64, blocks(names.iter().map(|name| &name[..])) * BLOCK as u64);
            let (mut at, mut found) = (0, 0);
            while at < out.len() {
                let length = usize::from(u16::from_le_bytes([out[at + 4], out[at + 5]]));
                assert!(at / BLOCK == (at + length - 1) / BLOCK && length % 4 == 0);
                assert_eq!(out[at + DIRECTORY_ENTRY..][..usize::from(out[at + 6])], names[found]);
                at += length;
                found += 1;
            }
            assert_eq!(found, count);
        }
    }
}
