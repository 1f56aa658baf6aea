//! The index files that libkmod reads (`modules.alias.bin` and its like): a trie in which a node with one child is
//! merged with it.
//!
//! ```text
//! magic, version, offset of the root
//! a node:  its part of the key behind the byte that leads to it, NUL-terminated   if PREFIX
//!          first and last byte that lead to children; an offset for each of these if CHILDREN
//!          number of values; of each its priority and itself, NUL-terminated      if VALUES
//! ```
//!
//! Numbers have 32 bits, big-endian; a node's offset has in its top bits what the node has, and 0 is no node.
//! Children come before their parents.

use std::collections::BTreeMap;

const MAGIC: u32 = 0xb007_f457;
const VERSION: u32 = 0x0002_0001;

const PREFIX: u32 = 0x8000_0000;
const VALUES: u32 = 0x4000_0000;
const CHILDREN: u32 = 0x2000_0000;
/// What is left of an offset for the offset itself.
const LONGEST: usize = 0x0fff_ffff;

/// As long as a key can be for the readers that there are. It also bounds the depth of the trie.
pub const LONGEST_KEY: usize = 1023;

/// Keys with their values, each with a priority: the lower comes first.
#[derive(Debug, Default)]
pub struct Trie<'a>(BTreeMap<String, Vec<(u32, &'a str)>>);

/// The file would be larger than its offsets can tell.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLarge;

impl<'a> Trie<'a> {
    /// Adds a value to a key. Of values with the same priority, the one that was added last comes first, as
    /// depmod has it. A key that no index can hold is left out.
    pub fn add(&mut self, key: String, value: &'a str, priority: u32) {
        if !can_be_key(&key) || !value.bytes().all(is_text) {
            return;
        }
        self.0.entry(key).or_default().push((priority, value));
    }

    /// The file.
    pub fn write(mut self) -> Result<Vec<u8>, TooLarge> {
        for values in self.0.values_mut() {
            // Once for all of them: a hostile list can have a million values for one key.
            values.reverse();
            values.sort_by_key(|(priority, _)| *priority);
        }
        let mut file = Vec::new();
        for number in [MAGIC, VERSION, 0] {
            file.extend(number.to_be_bytes());
        }
        let keys: Vec<_> = self.0.iter().map(|(key, values)| (key.as_bytes(), values.as_slice())).collect();
        // The root has no prefix, even where all keys begin alike.
        let root = write_node(&mut file, &[], &keys, 0)?;
        if let Some(place) = file.get_mut(8..12) {
            place.copy_from_slice(&root.to_be_bytes());
        }
        Ok(file)
    }
}

type Entry<'k> = (&'k [u8], &'k [(u32, &'k str)]);

/// Writes the node of `keys`, which are in order and alike up to `depth`, and all below it; returns its offset.
fn write_node(file: &mut Vec<u8>, prefix: &[u8], keys: &[Entry<'_>], depth: usize) -> Result<u32, TooLarge> {
    let (values, keys) = match keys.split_first() {
        Some(((key, values), rest)) if key.len() == depth => (*values, rest),
        _ => (&[][..], keys),
    };
    let mut children = Vec::new();
    for group in keys.chunk_by(|(one, _), (other, _)| one.get(depth) == other.get(depth)) {
        let [(first, _), ..] = group else { continue };
        let begin = depth + 1;
        let end = begin + alike(group, begin);
        let child = write_node(file, first.get(begin..end).unwrap_or_default(), group, end)?;
        children.push((first.get(depth).copied().unwrap_or_default(), child));
    }
    let mut offset = u32::try_from(file.len()).map_err(|_| TooLarge)?;
    if file.len() > LONGEST {
        return Err(TooLarge);
    }
    if !prefix.is_empty() {
        write_text(file, prefix);
        offset |= PREFIX;
    }
    if let ([(first, _), ..], [.., (last, _)]) = (&children[..], &children[..]) {
        file.extend([*first, *last]);
        for byte in *first..=*last {
            let child = children.iter().find(|(lead, _)| *lead == byte).map_or(0, |(_, child)| *child);
            file.extend(child.to_be_bytes());
        }
        offset |= CHILDREN;
    }
    if !values.is_empty() {
        file.extend(u32::try_from(values.len()).map_err(|_| TooLarge)?.to_be_bytes());
        for (priority, value) in values {
            file.extend(priority.to_be_bytes());
            write_text(file, value.as_bytes());
        }
        offset |= VALUES;
    }
    Ok(offset)
}

/// How many bytes from `begin` on all keys have in common. In order, the first and the last differ most.
fn alike(keys: &[Entry<'_>], begin: usize) -> usize {
    let ([(first, _), ..], [.., (last, _)]) = (keys, keys) else { return 0 };
    let rests = (first.get(begin..).unwrap_or_default(), last.get(begin..).unwrap_or_default());
    rests.0.iter().zip(rests.1).take_while(|(one, other)| one == other).count()
}

fn write_text(file: &mut Vec<u8>, text: &[u8]) {
    file.extend(text);
    file.push(0);
}

/// Readers take ASCII only, and these files' lines end with a line break.
pub fn is_text(byte: u8) -> bool {
    byte == b' ' || byte.is_ascii_graphic()
}

fn can_be_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= LONGEST_KEY && key.bytes().all(is_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_with_one_child_are_merged_and_children_come_first() {
        let mut trie = Trie::default();
        trie.add("on".into(), "x", 1);
        trie.add("once".into(), "y", 2);
        let mut expected = Vec::new();
        for number in [MAGIC, VERSION, CHILDREN | 41] {
            expected.extend(number.to_be_bytes());
        }
        // The node of "once": behind the "c" that leads to it.
        expected.extend(b"e\0\0\0\0\x01\0\0\0\x02y\0");
        // That of "on", at 24.
        expected.extend(b"n\0cc");
        expected.extend((PREFIX | VALUES | 12).to_be_bytes());
        expected.extend(b"\0\0\0\x01\0\0\0\x01x\0");
        // The root, at 42 less one.
        let file = trie.write().unwrap();
        assert_eq!(file[12..expected.len()], expected[12..]);
        assert_eq!(&file[expected.len()..expected.len() + 2], b"oo");
    }

    #[test]
    fn keys_that_no_reader_takes_are_left_out() {
        let mut trie = Trie::default();
        for key in ["", "a\nb", "ä", "\0", &"x".repeat(LONGEST_KEY + 1)] {
            trie.add(key.into(), "m", 0);
        }
        trie.add("k".into(), "two\nlines", 0);
        assert_eq!(trie.write().unwrap(), Trie::default().write().unwrap());
    }

    #[test]
    fn the_lower_priority_comes_first_and_of_equals_the_last() {
        let mut trie = Trie::default();
        for (value, priority) in [("a", 2), ("b", 1), ("c", 2)] {
            trie.add("k".into(), value, priority);
        }
        let file = trie.write().unwrap();
        assert!(
            file.windows(18).any(|values| values == b"\0\0\0\x01b\0\0\0\0\x02c\0\0\0\0\x02a\0"),
            "{file:?}"
        );
    }
}
