//! Packing things that must not cross a block's boundary.

use super::format::{BLOCK, SLOT};

/// Blocks that are open for more at one time.
const OPEN: usize = 16;

/// Best-fit packing into a row of blocks, of which the last few stay open.
#[derive(Default)]
pub struct Packer {
    open: Vec<Open>,
    blocks: u32,
}

struct Open {
    block: u32,
    used: usize,
}

/// Where something was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counts blocks in the order in which they were begun.
    pub block: u32,
    /// Bytes from the block's begin, a multiple of 32.
    pub offset: usize,
    /// The block that was closed to make room for a new one.
    pub closed: Option<u32>,
}

impl Packer {
    /// Begins with a block of which some bytes are taken.
    pub fn with_used(used: usize) -> Packer {
        Packer { open: vec![Open { block: 0, used: used.next_multiple_of(SLOT) }], blocks: 1 }
    }

    /// Blocks begun so far.
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Finds room for `bytes`, at most a block.
    pub fn place(&mut self, bytes: usize) -> Place {
        debug_assert!(bytes <= BLOCK);
        let bytes = bytes.next_multiple_of(SLOT);
        let best =
            self.open.iter_mut().filter(|open| open.used + bytes <= BLOCK).max_by_key(|open| open.used);
        if let Some(open) = best {
            let offset = open.used;
            open.used += bytes;
            return Place { block: open.block, offset, closed: None };
        }
        let fullest = (0..self.open.len()).max_by_key(|&index| self.open[index].used);
        let closed = match fullest {
            Some(index) if self.open.len() == OPEN => Some(self.open.swap_remove(index).block),
            _ => None,
        };
        let block = self.blocks;
        self.blocks += 1;
        self.open.push(Open { block, used: bytes });
        Place { block, offset: 0, closed }
    }

    /// Takes whole blocks for something larger than one; the first of them is returned. What is left of the
    /// last one stays unused.
    pub fn place_large(&mut self, bytes: usize) -> u32 {
        let first = self.blocks;
        self.blocks += bytes.div_ceil(BLOCK) as u32;
        first
    }

    /// The blocks that are still open, in the order in which they were begun.
    pub fn finish(self) -> Vec<u32> {
        let mut open: Vec<u32> = self.open.iter().map(|open| open.block).collect();
        open.sort_unstable();
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_crosses_a_block_and_nothing_overlaps() {
        let mut packer = Packer::with_used(1152);
        let mut taken = vec![vec![true; 1152 / SLOT]];
        let mut state = 1u32;
        for _ in 0..5000 {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            let bytes = 32 + (state >> 20) as usize % 4065;
            let place = packer.place(bytes);
            assert!(place.offset + bytes <= BLOCK && place.offset.is_multiple_of(SLOT));
            taken.resize(packer.blocks() as usize, Vec::new());
            let slots = &mut taken[place.block as usize];
            slots.resize(slots.len().max(BLOCK / SLOT), false);
            for slot in &mut slots[place.offset / SLOT..(place.offset + bytes).div_ceil(SLOT)] {
                assert!(!std::mem::replace(slot, true));
            }
        }
    }

    #[test]
    fn small_things_fill_the_gaps() {
        let mut packer = Packer::default();
        assert_eq!(packer.place(4000), Place { block: 0, offset: 0, closed: None });
        assert_eq!(packer.place(4000), Place { block: 1, offset: 0, closed: None });
        assert_eq!(packer.place(64).block, 1);
        assert_eq!(packer.place(64).block, 0);
        assert_eq!(packer.blocks(), 2);
    }
}
