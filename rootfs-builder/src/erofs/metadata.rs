//! Writing an image's metadata file.

use super::directory::{self, Entry};
use super::format::*;
use super::inode::Inode;
use super::merged::{Merged, merge_layers};
use super::plan::{Placed, Plan, is_settled, plan};
use super::shared_xattrs::EncodedXattrs;
use super::{Error, LayerFiles, MetadataSummary};
use crate::layer::FileType;
use crate::tree::{self, Body, Place, Tree};
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use zerocopy::IntoBytes;

/// Changes when the same layers give other bytes.
const WRITER: &[u8] = b"vmrun metadata 1";

/// Merges `layers`, lowest first, and writes the image's metadata to the empty file `out`. The image's disk
/// is [`out` | data of the first layer | data of the second | …].
pub fn write_metadata(layers: &[LayerFiles<'_>], out: File) -> Result<MetadataSummary, Error> {
    let Merged { tree, identity } = merge_layers(layers, WRITER)?;
    let (mut plan, xattrs) = plan(&tree).ok_or(Error::TooLarge)?;
    let parts = Parts::new(plan.blocks, layers)?;
    settle_nids(&tree, &mut plan, &parts);
    let uuid = *uuid::Builder::from_custom_bytes(identity.digest128().to_be_bytes()).as_uuid().as_bytes();
    let writer = MetadataWriter { tree: &tree, plan: &plan, xattrs: &xattrs, parts: &parts, layers };
    writer.write(out, uuid)?;
    Ok(MetadataSummary { length: u64::from(plan.blocks) * BLOCK as u64, inodes: plan.inodes, uuid })
}

/// Where the parts of the disk begin.
struct Parts {
    /// First block of each layer's data.
    layers: Vec<u32>,
    /// Blocks of the whole disk.
    blocks: u32,
}

impl Parts {
    fn new(metadata_blocks: u32, layers: &[LayerFiles<'_>]) -> Result<Parts, Error> {
        let mut parts = Parts { layers: Vec::with_capacity(layers.len()), blocks: metadata_blocks };
        for layer in layers {
            parts.layers.push(parts.blocks);
            let blocks = u32::try_from(layer.data_length / BLOCK as u64).map_err(|_| Error::TooLarge)?;
            parts.blocks = parts.blocks.checked_add(blocks).ok_or(Error::TooLarge)?;
        }
        Ok(parts)
    }
}

/// Fills in the nids of inodes that are in the layers' data.
fn settle_nids(tree: &Tree, plan: &mut Plan, parts: &Parts) {
    for (inode, nid) in plan.nids.iter_mut().enumerate() {
        let row = tree.inode(inode as u32);
        if let (true, Some(Place::Settled { layer, offset })) = (is_settled(row), row.place()) {
            let begin = u64::from(parts.layers[usize::from(layer)]) * BLOCK as u64;
            *nid = (begin + offset) / SLOT as u64;
        }
    }
}

struct MetadataWriter<'a> {
    tree: &'a Tree,
    plan: &'a Plan,
    xattrs: &'a EncodedXattrs,
    parts: &'a Parts,
    layers: &'a [LayerFiles<'a>],
}

impl MetadataWriter<'_> {
    fn write(&self, out: File, uuid: [u8; 16]) -> Result<(), Error> {
        let inode_bytes = self.plan.inode_blocks as usize * BLOCK;
        let mut inodes = vec![0; inode_bytes];
        let mut blocks = BufWriter::with_capacity(256 << 10, &out);
        blocks.seek(SeekFrom::Start(inode_bytes as u64)).map_err(Error::Write)?;
        let mut encoded = Vec::new();
        let mut content = Vec::new();
        let mut contents = Contents::new(self.layers);
        for (number, placed) in self.plan.placed.iter().enumerate() {
            encoded.clear();
            content.clear();
            if let Some(index) = placed.directory {
                self.directory(index, &mut content);
                let whole = match self.plan.directories[index as usize].layout {
                    Layout::Inline => content.len() - content.len() % BLOCK,
                    Layout::Plain => content.len().next_multiple_of(BLOCK),
                };
                let inlined = content.split_off(whole.min(content.len()));
                content.resize(whole, 0);
                blocks.write_all(&content).map_err(Error::Write)?;
                content = inlined;
            } else {
                self.inlined(placed, &mut contents, &mut content)?;
            }
            self.inode(placed, number as u32 + 1, &mut encoded);
            encoded.extend_from_slice(&content);
            let offset = placed.offset as usize;
            inodes[offset..offset + encoded.len()].copy_from_slice(&encoded);
        }
        blocks.write_all(&self.xattrs.shared).map_err(Error::Write)?;
        blocks.flush().map_err(Error::Write)?;
        drop(blocks);
        self.super_block(uuid, &mut inodes);
        out.write_all_at(&inodes, 0).map_err(Error::Write)?;
        out.set_len(u64::from(self.plan.blocks) * BLOCK as u64).map_err(Error::Write)
    }

    fn super_block(&self, uuid: [u8; 16], first_block: &mut [u8]) {
        let root = self.plan.nids[self.tree.inode_of(tree::ROOT) as usize];
        let mut super_block = SuperBlock {
            magic: SUPER_MAGIC.into(),
            feature_compat: (COMPAT_CHECKSUM | COMPAT_MTIME).into(),
            block_bits: BLOCK.trailing_zeros() as u8,
            root_nid: (root as u16).into(),
            inodes: self.plan.inodes.into(),
            epoch: (self.plan.epoch.seconds as u64).into(),
            epoch_nanoseconds: self.plan.epoch.nanoseconds.into(),
            blocks: self.parts.blocks.into(),
            xattr_block: self.plan.xattr_block.into(),
            uuid,
            ..SuperBlock::default()
        };
        let place = SUPER_OFFSET..SUPER_OFFSET + size_of::<SuperBlock>();
        first_block[place.clone()].copy_from_slice(super_block.as_bytes());
        // EROFS leaves out the final inversion.
        super_block.checksum = (!crc32c::crc32c(&first_block[SUPER_OFFSET..BLOCK])).into();
        first_block[place].copy_from_slice(super_block.as_bytes());
    }

    fn inode(&self, placed: &Placed, ino: u32, out: &mut Vec<u8>) {
        let row = self.tree.inode(placed.inode);
        let xattrs = self.xattrs.get(row.xattrs);
        let mut inode = Inode {
            file_type: row.file_type(),
            attributes: &row.attributes,
            nlink: row.links,
            size: 0,
            layout: Layout::Plain,
            union: 0,
            xattr_bytes: xattrs.len(),
            ino,
        };
        match row.body {
            Body::Directory { .. } => {
                let index = placed.directory.unwrap_or_default();
                let directory = &self.plan.directories[index as usize];
                inode.nlink = directory.subdirectories + 2;
                inode.size = directory.size;
                inode.layout = directory.layout;
                inode.union = directory.first_block;
            }
            Body::File { size, place } => self.content(&mut inode, size, place),
            Body::Symlink { target, place } => {
                self.content(&mut inode, self.tree.text(target).len() as u64, place);
            }
            Body::CharacterDevice { number, .. } | Body::BlockDevice { number, .. } => inode.union = number,
            Body::Fifo { .. } => {}
        }
        match placed.compact {
            true => inode.write_compact(out),
            false => inode.write_extended(out),
        }
        out.extend_from_slice(xattrs);
    }

    fn content(&self, inode: &mut Inode<'_>, size: u64, place: Place) {
        inode.size = size;
        match place {
            Place::Settled { .. } if size > 0 => inode.layout = Layout::Inline,
            Place::Plain { layer, block } if size > 0 => {
                inode.union = self.parts.layers[usize::from(layer)] + block;
            }
            _ => {}
        }
    }

    /// The content of a small file that cannot stay where its layer has it.
    fn inlined(&self, placed: &Placed, contents: &mut Contents<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let row = self.tree.inode(placed.inode);
        match row.body {
            Body::Symlink { target, place: Place::Settled { .. } } => {
                out.extend_from_slice(self.tree.text(target));
                Ok(())
            }
            Body::File { size, place: Place::Settled { layer, offset } } => {
                let pairs = self.tree.xattrs.get(row.xattrs);
                let skip = EXTENDED_INODE + super::xattr::inline_bytes(pairs.into_iter());
                out.resize(size as usize, 0);
                contents.read(layer, offset + skip as u64, out)
            }
            _ => Ok(()),
        }
    }

    fn directory(&self, index: u32, out: &mut Vec<u8>) {
        let directory = &self.plan.directories[index as usize];
        let nid = |node| self.plan.nids[self.tree.inode_of(node) as usize];
        let mut entries: Vec<Entry> = self.plan.order[directory.entries.clone()]
            .iter()
            .map(|&node| Entry {
                name: self.tree.name(node),
                nid: nid(node),
                file_type: type_number(self.tree.inode(self.tree.inode_of(node)).file_type()),
            })
            .collect();
        for (name, node) in [(&b"."[..], directory.node), (b"..", self.tree.parent(directory.node))] {
            let at = entries.partition_point(|entry| entry.name < name);
            entries.insert(at, Entry { name, nid: nid(node), file_type: TYPE_DIRECTORY });
        }
        directory::encode(&entries, out);
    }
}

fn type_number(file_type: FileType) -> u8 {
    match file_type {
        FileType::Directory => TYPE_DIRECTORY,
        FileType::File => TYPE_FILE,
        FileType::Symlink => TYPE_SYMLINK,
        FileType::CharacterDevice => TYPE_CHARACTER_DEVICE,
        FileType::BlockDevice => TYPE_BLOCK_DEVICE,
        FileType::Fifo => TYPE_FIFO,
    }
}

/// The layers' data files, opened when they are needed.
struct Contents<'a> {
    layers: &'a [LayerFiles<'a>],
    open: Vec<Option<File>>,
}

impl<'a> Contents<'a> {
    fn new(layers: &'a [LayerFiles<'a>]) -> Contents<'a> {
        Contents { layers, open: layers.iter().map(|_| None).collect() }
    }

    fn read(&mut self, layer: u16, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let path = self.layers[usize::from(layer)].data;
        let error = |source| Error::Read { path: path.to_owned(), source };
        let slot = &mut self.open[usize::from(layer)];
        let file = match slot {
            Some(file) => file,
            None => slot.insert(File::open(path).map_err(error)?),
        };
        file.read_exact_at(out, offset).map_err(error)
    }
}
