//! The xattrs of all inodes: each set is encoded once, and its block serves many inodes.

use super::area::Area;
use super::format::BLOCK;
use super::xattr::{self, TooLarge};
use crate::tree::{Tree, XattrSet};
use std::collections::HashMap;
use std::io;

/// The inodes that may share a block, as many as Linux lets.
const MOST_REFERENCES: u32 = 1024;

#[derive(Default)]
pub struct XattrBlocks {
    sets: HashMap<XattrSet, Set>,
    /// Those that have a block, in the order in which they were met.
    with_block: Vec<XattrSet>,
}

struct Set {
    in_inode: Vec<u8>,
    has_block: bool,
    /// Inodes that have it; when these are written, those still to come.
    uses: u32,
    /// Among all xattr blocks.
    first_block: u32,
}

/// The xattrs of one inode.
pub struct Written<'a> {
    pub in_inode: &'a [u8],
    /// Counts xattr blocks.
    pub block: Option<u32>,
}

impl XattrBlocks {
    /// Takes note of one more inode with these xattrs.
    pub fn note(&mut self, tree: &Tree, set: XattrSet) -> Result<(), TooLarge> {
        if set == XattrSet::EMPTY {
            return Ok(());
        }
        if let Some(known) = self.sets.get_mut(&set) {
            known.uses += 1;
            return Ok(());
        }
        let encoded = xattr::encode(&tree.xattrs.get(set))?;
        let has_block = encoded.block.is_some();
        self.with_block.extend(has_block.then_some(set));
        self.sets.insert(set, Set { in_inode: encoded.in_inode, has_block, uses: 1, first_block: 0 });
        Ok(())
    }

    /// Gives every set its blocks; their number is returned.
    pub fn settle(&mut self) -> u64 {
        let mut blocks = 0u64;
        for set in &self.with_block {
            if let Some(set) = self.sets.get_mut(set) {
                set.first_block = blocks as u32;
                blocks += u64::from(set.uses.div_ceil(MOST_REFERENCES));
            }
        }
        blocks
    }

    /// The xattrs of the next inode that has this set.
    pub fn take(&mut self, set: XattrSet) -> Written<'_> {
        match self.sets.get_mut(&set) {
            None => Written { in_inode: &[], block: None },
            Some(set) => {
                set.uses = set.uses.saturating_sub(1);
                let block = set.has_block.then(|| set.first_block + set.uses / MOST_REFERENCES);
                Written { in_inode: &set.in_inode, block }
            }
        }
    }

    /// Writes all blocks. To be done before any is taken.
    pub fn write(&self, tree: &Tree, out: &mut Area<'_>) -> io::Result<()> {
        for set in &self.with_block {
            let Some(Set { uses, .. }) = self.sets.get(set) else { continue };
            let encoded = xattr::encode(&tree.xattrs.get(*set)).unwrap_or_default();
            let mut block = encoded.block.unwrap_or_else(|| vec![0; BLOCK]);
            let mut left = *uses;
            while left > 0 {
                let references = left.min(MOST_REFERENCES);
                xattr::set_references(&mut block, references);
                out.append(&block)?;
                left -= references;
            }
        }
        Ok(())
    }
}
