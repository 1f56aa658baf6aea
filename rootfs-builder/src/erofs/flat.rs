//! One file with nothing but what an image shows: what upper layers removed or replaced is left out.
//!
//! It is [super block and inodes, small files among them | blocks of large directories | shared xattrs | contents],
//! contents in the order in which directories list their files.

use super::format::BLOCK;
use super::inode_area::InodeArea;
use super::merged::{Merged, merge_layers, uuid_of};
use super::metadata::{Data, MetadataWriter};
use super::plan::{Plan, SmallFiles, plan};
use super::{Contents, Error, LayerFiles, MetadataSummary};
use crate::tree::{Body, Inode, Place, Tree};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Changes when the same layers give other bytes.
const WRITER: &[u8] = b"vmrun flat 1";
/// Bytes copied at a time.
const CHUNK: usize = 256 << 10;

/// Merges `layers`, lowest first, and writes the whole file system to an empty file.
pub fn write_flat(layers: &[LayerFiles<'_>], out: &File) -> Result<MetadataSummary, Error> {
    let Merged { tree, identity } = merge_layers(layers, WRITER)?;
    let (plan, xattrs) = plan(&tree, SmallFiles::Own).ok_or(Error::TooLarge)?;
    let (copies, mut blocks) = copies(&tree, &plan)?;
    // fsck.erofs looks behind every inode, even the last.
    if blocks == plan.inode_blocks {
        blocks = blocks.checked_add(1).ok_or(Error::TooLarge)?;
    }
    let data = Data::Copied(copies.iter().map(|copy| (copy.inode, copy.to)).collect::<HashMap<_, _>>());
    let writer = MetadataWriter { tree: &tree, plan: &plan, xattrs: &xattrs, data: &data, blocks };
    let mut contents = Contents::new(layers);
    let uuid = uuid_of(&identity);
    writer.write(out, InodeArea::InFile(out), &mut contents, uuid)?;

    let length = u64::from(blocks) * BLOCK as u64;
    out.set_len(length).map_err(Error::Write)?;
    let mut buffer = vec![0; CHUNK];
    copies.iter().try_for_each(|copy| copy.run(&mut contents, out, &mut buffer))?;
    Ok(MetadataSummary { length, inodes: plan.inodes, uuid })
}

/// The content of a file on its way.
struct Copy {
    inode: Inode,
    layer: u16,
    /// First blocks in the layer's data file and in the new one.
    from: u32,
    to: u32,
    /// Bytes, whole blocks.
    length: u64,
}

/// What is to be copied, and the blocks that there are then.
fn copies(tree: &Tree, plan: &Plan) -> Result<(Vec<Copy>, u32), Error> {
    let mut copies = Vec::new();
    let mut end = plan.blocks;
    for placed in &plan.placed {
        let (size, place) = match tree.inode(placed.inode).body {
            Body::File { size, place } => (size, place),
            Body::Symlink { target, place } => (tree.text(target).len() as u64, place),
            _ => continue,
        };
        if let Place::Plain { layer, block } = place
            && size > 0
        {
            let blocks = u32::try_from(size.div_ceil(BLOCK as u64)).map_err(|_| Error::TooLarge)?;
            let length = u64::from(blocks) * BLOCK as u64;
            copies.push(Copy { inode: placed.inode, layer, from: block, to: end, length });
            end = end.checked_add(blocks).ok_or(Error::TooLarge)?;
        }
    }
    Ok((copies, end))
}

impl Copy {
    /// Zeroes are left to the file, which has them already: holes stay holes.
    fn run(&self, contents: &mut Contents<'_>, out: &File, buffer: &mut [u8]) -> Result<(), Error> {
        let (from, to) = (u64::from(self.from) * BLOCK as u64, u64::from(self.to) * BLOCK as u64);
        let mut done = 0;
        while done < self.length {
            let bytes = buffer.len().min((self.length - done) as usize);
            let chunk = &mut buffer[..bytes];
            contents.read(self.layer, from + done, chunk)?;
            if chunk.iter().any(|&byte| byte != 0) {
                out.write_all_at(chunk, to + done).map_err(Error::Write)?;
            }
            done += bytes as u64;
        }
        Ok(())
    }
}
