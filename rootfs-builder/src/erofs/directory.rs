//! Encoding directories: blocks of entries sorted by name, each block complete in itself.

use super::format::{BLOCK, DIRECTORY_ENTRY, DirectoryEntry};
use zerocopy::IntoBytes;

/// One entry.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub name: &'a [u8],
    pub nid: u64,
    pub file_type: u8,
}

/// How many of the entries, given by their names' lengths, the next block holds, and how many bytes it then
/// has.
fn next_block(lengths: impl Iterator<Item = usize>) -> (usize, usize) {
    let mut entries = 0;
    let mut bytes = 0;
    for length in lengths {
        let with = bytes + DIRECTORY_ENTRY + length;
        if with > BLOCK {
            break;
        }
        entries += 1;
        bytes = with;
    }
    (entries, bytes)
}

/// The size in bytes of a directory with these names, in this order.
pub fn size(names: &[&[u8]]) -> u64 {
    let mut rest = names;
    let mut blocks = 0;
    loop {
        let (entries, bytes) = next_block(rest.iter().map(|name| name.len()));
        rest = &rest[entries..];
        if rest.is_empty() {
            return blocks * BLOCK as u64 + bytes as u64;
        }
        blocks += 1;
    }
}

/// Encodes sorted entries; every block but the last is filled up with zeroes.
pub fn encode(entries: &[Entry<'_>], out: &mut Vec<u8>) {
    let mut rest = entries;
    while !rest.is_empty() {
        out.resize(out.len().next_multiple_of(BLOCK), 0);
        let (count, _) = next_block(rest.iter().map(|entry| entry.name.len()));
        let (block, later) = rest.split_at(count);
        let mut name_offset = count * DIRECTORY_ENTRY;
        for entry in block {
            let encoded = DirectoryEntry {
                nid: entry.nid.into(),
                name_offset: (name_offset as u16).into(),
                file_type: entry.file_type,
                reserved: 0,
            };
            out.extend_from_slice(encoded.as_bytes());
            name_offset += entry.name.len();
        }
        for entry in block {
            out.extend_from_slice(entry.name);
        }
        rest = later;
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
            let borrowed: Vec<&[u8]> = names.iter().map(|name| &name[..]).collect();
            let entries: Vec<Entry> =
                borrowed.iter().map(|name| Entry { name, nid: 36, file_type: 1 }).collect();
            let mut out = Vec::new();
            encode(&entries, &mut out);
            assert_eq!(out.len() as u64, size(&borrowed));
        }
    }
}
