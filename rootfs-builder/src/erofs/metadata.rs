//! Writing what a file system says of its files: super block, inodes, directories, shared xattrs.

use super::directory::{self, Entry};
use super::format::*;
use super::inode::Inode;
use super::inode_area::InodeArea;
use super::plan::{Placed, Plan};
use super::shared_xattrs::EncodedXattrs;
use super::{Contents, Error};
use crate::layer::FileType;
use crate::tree::{self, Body, Place, Tree};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use zerocopy::IntoBytes;

/// Where the contents of plain files are.
pub enum Data {
    /// In the layers' data files, which begin at these blocks.
    Layers(Vec<u32>),
    /// Copied; first blocks by inode.
    Copied(HashMap<tree::Inode, u32>),
}

pub struct MetadataWriter<'a> {
    pub tree: &'a Tree,
    pub plan: &'a Plan,
    pub xattrs: &'a EncodedXattrs,
    pub data: &'a Data,
    /// Blocks of the whole disk.
    pub blocks: u32,
}

impl MetadataWriter<'_> {
    /// Writes [`Plan::blocks`] to the begin of an empty file.
    pub fn write(
        &self,
        out: &File,
        mut inodes: InodeArea<'_>,
        contents: &mut Contents<'_>,
        uuid: [u8; 16],
    ) -> Result<(), Error> {
        let mut blocks = BufWriter::with_capacity(256 << 10, out);
        let begin = u64::from(self.plan.inode_blocks) * BLOCK as u64;
        blocks.seek(SeekFrom::Start(begin)).map_err(Error::Write)?;
        let mut encoded = Vec::new();
        let mut content = Vec::new();
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
                self.inlined(placed, contents, &mut content)?;
            }
            self.inode(placed, number as u32 + 1, &mut encoded);
            encoded.extend_from_slice(&content);
            inodes.put(placed.offset, &encoded)?;
        }
        blocks.write_all(&self.xattrs.shared).map_err(Error::Write)?;
        blocks.flush().map_err(Error::Write)?;
        drop(blocks);
        inodes.finish(out, |first_block| self.super_block(uuid, first_block))?;
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
            blocks: self.blocks.into(),
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
                inode.nlink = directory.links;
                inode.size = directory.size;
                inode.layout = directory.layout;
                inode.union = directory.first_block;
            }
            Body::File { size, place } => self.content(&mut inode, placed, size, place),
            Body::Symlink { target, place } => {
                self.content(&mut inode, placed, self.tree.text(target).len() as u64, place);
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

    fn content(&self, inode: &mut Inode<'_>, placed: &Placed, size: u64, place: Place) {
        inode.size = size;
        match place {
            Place::Settled { .. } if size > 0 => inode.layout = Layout::Inline,
            Place::Plain { layer, block } if size > 0 => {
                inode.union = match self.data {
                    Data::Layers(begins) => begins[usize::from(layer)] + block,
                    Data::Copied(begins) => begins.get(&placed.inode).copied().unwrap_or_default(),
                };
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

/// The number of a file type in directory entries.
pub fn type_number(file_type: FileType) -> u8 {
    match file_type {
        FileType::Directory => TYPE_DIRECTORY,
        FileType::File => TYPE_FILE,
        FileType::Symlink => TYPE_SYMLINK,
        FileType::CharacterDevice => TYPE_CHARACTER_DEVICE,
        FileType::BlockDevice => TYPE_BLOCK_DEVICE,
        FileType::Fifo => TYPE_FIFO,
    }
}
