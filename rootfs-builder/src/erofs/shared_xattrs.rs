//! Which extended attributes are kept once for several inodes.

use super::xattr::{entry_bytes, write_entry, write_header};
use crate::tree::{Tree, XattrSet};
use std::collections::HashMap;

/// An inode counts its shared xattrs in a byte.
const MAX_SHARED: usize = u8::MAX as usize;

/// The encoded xattrs of an image's own inodes.
pub struct EncodedXattrs {
    by_set: HashMap<XattrSet, Vec<u8>>,
    /// The shared ones, one after another.
    pub shared: Vec<u8>,
}

impl EncodedXattrs {
    /// Encodes the sets of `inodes`: one item for each inode that has any.
    pub fn new(tree: &Tree, inodes: impl Iterator<Item = XattrSet>) -> EncodedXattrs {
        let mut uses: HashMap<XattrSet, usize> = HashMap::new();
        for set in inodes.filter(|&set| set != XattrSet::EMPTY) {
            *uses.entry(set).or_default() += 1;
        }
        let mut sets: Vec<(XattrSet, usize)> = uses.into_iter().collect();
        sets.sort_unstable();
        let mut pairs: HashMap<(&[u8], &[u8]), usize> = HashMap::new();
        for &(set, uses) in &sets {
            for pair in tree.xattrs.get(set) {
                *pairs.entry(pair).or_default() += uses;
            }
        }
        let mut shared = Vec::new();
        let mut ids: HashMap<(&[u8], &[u8]), u32> = HashMap::new();
        let mut by_set = HashMap::new();
        for &(set, _) in &sets {
            let xattrs = tree.xattrs.get(set);
            let (mut by_id, mut inline) = (Vec::new(), Vec::new());
            for &(name, value) in &xattrs {
                if pays(pairs[&(name, value)], entry_bytes(name, value)) && by_id.len() < MAX_SHARED {
                    let id = *ids.entry((name, value)).or_insert_with(|| {
                        let id = shared.len() / 4;
                        write_entry(name, value, &mut shared);
                        id as u32
                    });
                    by_id.push(id);
                } else {
                    inline.push((name, value));
                }
            }
            let mut encoded = Vec::new();
            write_header(by_id.len() as u8, &mut encoded);
            for id in by_id {
                encoded.extend_from_slice(&id.to_le_bytes());
            }
            for (name, value) in inline {
                write_entry(name, value, &mut encoded);
            }
            by_set.insert(set, encoded);
        }
        EncodedXattrs { by_set, shared }
    }

    /// What follows an inode with these xattrs.
    pub fn get(&self, set: XattrSet) -> &[u8] {
        self.by_set.get(&set).map_or(&[], |encoded| &encoded[..])
    }
}

/// An id in each inode and one entry, against an entry in each.
fn pays(uses: usize, entry: usize) -> bool {
    uses * 4 + entry < uses * entry
}
