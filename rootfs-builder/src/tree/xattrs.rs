//! Sets of extended attributes, each kept once.

use super::limits::{EACH_SET, Full};
use crate::layer::table::{Damage, XattrList, decode_xattrs};
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

/// The xattrs of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct XattrSet(u32);

impl XattrSet {
    pub const EMPTY: XattrSet = XattrSet(0);
}

/// All sets of a tree. Most files have none, and most others one of a few.
pub struct XattrSets {
    /// The sets as entry tables encode them; set 1 is the first.
    encoded: Vec<Box<[u8]>>,
    by_content: HashTable<XattrSet>,
    hasher: RandomState,
    bytes: u32,
    limit: u32,
}

impl XattrSets {
    /// None yet, and at most `limit` bytes of them.
    pub fn new(limit: u32) -> XattrSets {
        let (encoded, by_content, hasher) = (Vec::new(), HashTable::new(), RandomState::new());
        XattrSets { encoded, by_content, hasher, bytes: 0, limit }
    }

    /// The set of an encoded list, which is checked.
    pub fn intern(&mut self, encoded: &[u8]) -> Result<Result<XattrSet, Full>, Damage> {
        if encoded.is_empty() {
            return Ok(Ok(XattrSet::EMPTY));
        }
        let content = |set: &XattrSet| &self.encoded[set.0 as usize - 1][..];
        let hash = self.hasher.hash_one(encoded);
        if let Some(&set) = self.by_content.find(hash, |set| content(set) == encoded) {
            return Ok(Ok(set));
        }
        decode_xattrs(encoded)?;
        let bytes = u64::from(self.bytes) + encoded.len() as u64 + u64::from(EACH_SET);
        match u32::try_from(bytes) {
            Ok(bytes) if bytes <= self.limit => self.bytes = bytes,
            _ => return Ok(Err(Full::Xattrs(self.limit))),
        }
        // The limit is reached long before it could be one too many.
        let number = self.encoded.len() as u32 + 1;
        self.encoded.push(encoded.into());
        let rehash = |set: &XattrSet| self.hasher.hash_one(&self.encoded[set.0 as usize - 1][..]);
        self.by_content.insert_unique(hash, XattrSet(number), rehash);
        Ok(Ok(XattrSet(number)))
    }

    /// A set's names and values, sorted by name.
    pub fn get(&self, set: XattrSet) -> XattrList<'_> {
        match set {
            XattrSet::EMPTY => Vec::new(),
            XattrSet(number) => decode_xattrs(&self.encoded[number as usize - 1]).unwrap_or_default(),
        }
    }
}
