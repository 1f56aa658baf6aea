//! The metadata file of an image whose contents stay in its layers' data files.

use super::format::{BLOCK, SLOT};
use super::inode_area::InodeArea;
use super::merged::{Merged, merge_layers, uuid_of};
use super::metadata::{Data, MetadataWriter};
use super::plan::{Plan, SmallFiles, plan};
use super::{Contents, Error, LayerFiles, MetadataSummary};
use crate::tree::{Place, Tree};
use std::fs::File;

/// Changes when the same layers give other bytes.
const WRITER: &[u8] = b"vmrun metadata 1";

/// Merges `layers`, lowest first, and writes the image's metadata to the empty file `out`. The image's disk
/// is [`out` | data of the first layer | data of the second | …].
pub fn write_metadata(layers: &[LayerFiles<'_>], out: File) -> Result<MetadataSummary, Error> {
    let Merged { tree, identity } = merge_layers(layers, WRITER)?;
    let (mut plan, xattrs) = plan(&tree, SmallFiles::InLayers).ok_or(Error::TooLarge)?;
    let (begins, blocks) = parts(plan.blocks, layers)?;
    settle_nids(&tree, &mut plan, &begins);
    let uuid = uuid_of(&identity);
    let data = Data::Layers(begins);
    let writer = MetadataWriter { tree: &tree, plan: &plan, xattrs: &xattrs, data: &data, blocks };
    writer.write(&out, InodeArea::in_memory(plan.inode_blocks), &mut Contents::new(layers), uuid)?;
    Ok(MetadataSummary { length: u64::from(plan.blocks) * BLOCK as u64, inodes: plan.inodes, uuid })
}

/// The first block of each layer's data, and the blocks of the whole disk.
fn parts(metadata_blocks: u32, layers: &[LayerFiles<'_>]) -> Result<(Vec<u32>, u32), Error> {
    let mut begins = Vec::with_capacity(layers.len());
    let mut end = metadata_blocks;
    for layer in layers {
        begins.push(end);
        let blocks = u32::try_from(layer.data_length / BLOCK as u64).map_err(|_| Error::TooLarge)?;
        end = end.checked_add(blocks).ok_or(Error::TooLarge)?;
    }
    Ok((begins, end))
}

/// Fills in the nids of inodes that are in the layers' data.
fn settle_nids(tree: &Tree, plan: &mut Plan, begins: &[u32]) {
    let small_files = plan.small_files;
    for (inode, nid) in plan.nids.iter_mut().enumerate() {
        let row = tree.inode(inode as u32);
        if let (true, Some(Place::Settled { layer, offset })) = (small_files.is_settled(row), row.place()) {
            let begin = u64::from(begins[usize::from(layer)]) * BLOCK as u64;
            *nid = (begin + offset) / SLOT as u64;
        }
    }
}
