//! Extent trees of contents that are one row of blocks.

use super::format::*;
use zerocopy::IntoBytes;

/// Entries of the root, which is in the inode, and of any other node.
const IN_ROOT: usize = INODE_BLOCK / EXTENT - 1;
const IN_NODE: usize = BLOCK / EXTENT - 1;

/// An entry of a node, whatever the node's depth: first in it is the file's block that it begins with.
type Entry = [u8; EXTENT];

/// Blocks of the tree of so many blocks, its root not counted.
pub fn tree_blocks(blocks: u32) -> u32 {
    let (mut entries, mut nodes) = (blocks.div_ceil(MAX_EXTENT), 0);
    while entries as usize > IN_ROOT {
        entries = entries.div_ceil(IN_NODE as u32);
        nodes += entries;
    }
    nodes
}

/// The root of the tree of so many blocks from `first` on. The other nodes are appended to `nodes`; the first of
/// them will be block `tree`.
pub fn encode(first: u32, blocks: u32, mut tree: u32, nodes: &mut Vec<u8>) -> [u8; INODE_BLOCK] {
    let mut entries: Vec<Entry> = (0..blocks.div_ceil(MAX_EXTENT))
        .map(|number| {
            let logical = number * MAX_EXTENT;
            zerocopy::transmute!(Extent {
                logical: logical.into(),
                length: ((blocks - logical).min(MAX_EXTENT) as u16).into(),
                physical_high: 0.into(),
                physical: (first + logical).into(),
            })
        })
        .collect();
    let mut depth = 0;
    while entries.len() > IN_ROOT {
        let parents = entries.chunks(IN_NODE).map(|entries| {
            let begin = nodes.len();
            node(depth, IN_NODE, entries, nodes);
            nodes.resize(begin + BLOCK, 0);
            let [a, b, c, d, ..] = entries[0];
            let logical = u32::from_le_bytes([a, b, c, d]).into();
            let index = ExtentIndex { logical, node: tree.into(), node_high: 0.into(), unused: 0.into() };
            tree += 1;
            zerocopy::transmute!(index)
        });
        entries = parents.collect();
        depth += 1;
    }
    let mut root = Vec::with_capacity(INODE_BLOCK);
    node(depth, IN_ROOT, &entries, &mut root);
    let mut block = [0; INODE_BLOCK];
    block[..root.len()].copy_from_slice(&root);
    block
}

fn node(depth: u16, capacity: usize, entries: &[Entry], out: &mut Vec<u8>) {
    let header = ExtentHeader {
        magic: EXTENT_MAGIC.into(),
        entries: (entries.len() as u16).into(),
        capacity: (capacity as u16).into(),
        depth: depth.into(),
        generation: 0.into(),
    };
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(entries.as_flattened());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn half(bytes: &[u8], at: usize) -> u16 {
        u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
    }

    /// The extents that a tree leads to.
    fn extents(node: &[u8], tree: u32, nodes: &[u8], out: &mut Vec<(u32, u32, u32)>) {
        assert_eq!(half(node, 0), EXTENT_MAGIC);
        assert!(half(node, 2) <= half(node, 4));
        for entry in node[EXTENT..].chunks(EXTENT).take(usize::from(half(node, 2))) {
            if half(node, 6) == 0 {
                out.push((word(entry, 0), u32::from(half(entry, 4)), word(entry, 8)));
            } else {
                let (before, at) = (out.len(), (word(entry, 4) - tree) as usize * BLOCK);
                assert_eq!(half(&nodes[at..], 6) + 1, half(node, 6));
                extents(&nodes[at..at + BLOCK], tree, nodes, out);
                assert_eq!(out[before].0, word(entry, 0));
            }
        }
    }

    #[test]
    fn trees_of_any_depth_lead_to_all_blocks() {
        let (leaf, two) = (IN_NODE as u32 * MAX_EXTENT, (IN_ROOT as u32 + 1) * IN_NODE as u32 * MAX_EXTENT);
        let sizes = [0, 1, MAX_EXTENT, MAX_EXTENT + 1, 4 * MAX_EXTENT, 4 * MAX_EXTENT + 1, leaf, leaf + 1];
        for blocks in sizes.into_iter().chain([two, two + 77, u32::MAX - 5000]) {
            let mut nodes = Vec::new();
            let root = encode(1000, blocks, 77, &mut nodes);
            assert_eq!(nodes.len(), tree_blocks(blocks) as usize * BLOCK, "{blocks}");
            let mut found = Vec::new();
            extents(&root, 77, &nodes, &mut found);
            let mut next = 0;
            for (logical, length, physical) in found {
                assert_eq!((logical, physical), (next, 1000 + next), "{blocks}");
                assert!(length > 0 && length <= MAX_EXTENT);
                next += length;
            }
            assert_eq!(next, blocks);
        }
    }
}
