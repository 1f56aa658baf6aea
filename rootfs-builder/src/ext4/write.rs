//! Writing an ext4 image: two areas of the file, inode tables and contents, grow side by side.

use super::area::Area;
use super::bitmaps::{Groups, UsedBlocks, describe};
use super::directory::{self, Entry};
use super::extents;
use super::format::*;
use super::geometry::Geometry;
use super::inode::{Described, device};
use super::plan::{LargeFiles, Placed, Plan, path};
use super::{Error, Summary};
use crate::erofs::{Contents, LayerFiles, Merged, content_place, merge_layers, type_number, uuid_of};
use crate::tree::{Body, InodeRow, Place, Tree};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use zerocopy::IntoBytes;

/// Changes when the same layers give other bytes.
const WRITER: &[u8] = b"vmrun ext4 1";
/// Bytes copied at a time.
const CHUNK: usize = 256 << 10;
static ZEROES: [u8; CHUNK] = [0; CHUNK];

pub fn write(layers: &[LayerFiles<'_>], large: LargeFiles, out: &File) -> Result<Summary, Error> {
    let Merged { tree, identity } = merge_layers(layers, WRITER)?;
    let plan = Plan::new(&tree, large)?;
    let layer_blocks: Vec<u64> = match large {
        LargeFiles::InLayers => layers.iter().map(|layer| layer.data_length / BLOCK as u64).collect(),
        LargeFiles::Copied => Vec::new(),
    };
    let geometry = Geometry::new(plan.inodes().into(), plan.blocks, layer_blocks.iter().sum());
    let geometry = geometry.ok_or(Error::TooLarge)?;
    // They all fit behind `geometry.parts`, so none of this is cut off.
    let begins = layer_blocks.iter().scan(geometry.parts, |next, blocks| {
        let begin = *next;
        *next += *blocks as u32;
        Some(begin)
    });
    let table = u64::from(geometry.inode_tables()) * BLOCK as u64;
    let contents = u64::from(geometry.contents) * BLOCK as u64;
    let length = u64::from(geometry.parts) * BLOCK as u64;
    let uuid = uuid_of(&identity);
    let summary = Summary { length, inodes: u64::from(plan.inodes()) + 1, uuid };
    let writer = Writer {
        tree: &tree,
        geometry,
        begins: begins.collect(),
        layers,
        reader: Contents::new(layers),
        inodes: Area::new(out, table),
        contents: Area::new(out, contents),
        xattr_blocks: geometry.contents,
        used: Vec::new(),
        scratch: Vec::new(),
    };
    out.set_len(length).map_err(Error::Write)?;
    writer.run(plan, uuid, out)?;
    Ok(summary)
}

struct Writer<'a> {
    tree: &'a Tree,
    geometry: Geometry,
    /// The first block of each layer's data, if large files stay there.
    begins: Vec<u32>,
    layers: &'a [LayerFiles<'a>],
    reader: Contents<'a>,
    inodes: Area<'a>,
    contents: Area<'a>,
    xattr_blocks: u32,
    /// Blocks in the layers' data.
    used: Vec<Range<u32>>,
    scratch: Vec<u8>,
}

impl Writer<'_> {
    fn run(mut self, mut plan: Plan, uuid: [u8; 16], out: &File) -> Result<(), Error> {
        plan.xattrs.write(self.tree, &mut self.contents).map_err(Error::Write)?;
        for index in 0..plan.placed.len() {
            let inode = self.inode(&mut plan, index)?;
            // Before the root there is one inode that the format reserves, and after it there are others.
            let (before, after) =
                if index == 0 { (ROOT_INODE - 1, RESERVED_INODES - ROOT_INODE) } else { (0, 0) };
            let reserved = |inodes: u32| u64::from(inodes) * INODE as u64;
            self.inodes.skip(reserved(before)).map_err(Error::Write)?;
            self.inodes.append(&inode).map_err(Error::Write)?;
            self.inodes.skip(reserved(after)).map_err(Error::Write)?;
        }
        self.inodes.flush().map_err(Error::Write)?;
        self.contents.flush().map_err(Error::Write)?;
        debug_assert_eq!(
            self.contents.position(),
            (u64::from(self.geometry.contents) + plan.blocks) * BLOCK as u64
        );
        self.groups(&plan, uuid, out)
    }

    /// Writes the content of an inode, if that is the image's own; the inode is returned.
    fn inode(&mut self, plan: &mut Plan, index: usize) -> Result<[u8; INODE], Error> {
        let placed = &plan.placed[index];
        let row = self.tree.inode(placed.inode);
        let tree_blocks = extents::tree_blocks(placed.blocks);
        let at = (self.contents.position() / BLOCK as u64) as u32;
        let first = match (placed.own, row.body) {
            (false, Body::File { place: Place::Plain { layer, block }, .. }) => {
                self.in_layer(plan, placed, layer, block)?
            }
            _ => at + tree_blocks,
        };
        let (block, has_extents) = match row.body {
            Body::CharacterDevice { number, .. } | Body::BlockDevice { number, .. } => {
                (device(number), false)
            }
            Body::Fifo { .. } => ([0; INODE_BLOCK], false),
            Body::Symlink { target, .. } if placed.blocks == 0 => {
                let mut block = [0; INODE_BLOCK];
                let target = self.tree.text(target);
                block[..target.len()].copy_from_slice(target);
                (block, false)
            }
            _ => {
                self.scratch.clear();
                let root = extents::encode(first, placed.blocks, at, &mut self.scratch);
                self.contents.append(&self.scratch).map_err(Error::Write)?;
                (root, true)
            }
        };
        let (links, size) = match (placed.directory, row.body) {
            (Some(directory), _) => self.directory(plan, directory, placed.blocks)?,
            (_, Body::Symlink { target, .. }) => {
                if placed.blocks > 0 {
                    self.contents.append(self.tree.text(target)).map_err(Error::Write)?;
                }
                (row.links, self.tree.text(target).len() as u64)
            }
            (_, Body::File { size, place }) => {
                if placed.own {
                    self.copy(row, size, place)?;
                }
                (row.links, size)
            }
            _ => (row.links, 0),
        };
        self.contents.align(BLOCK as u64).map_err(Error::Write)?;
        let xattrs = plan.xattrs.take(row.xattrs);
        let described = Described {
            file_type: row.file_type(),
            attributes: &row.attributes,
            links: links as u16,
            size,
            blocks: u64::from(plan.placed[index].blocks)
                + u64::from(tree_blocks)
                + u64::from(xattrs.block.is_some()),
            has_extents,
            block,
            xattr_block: xattrs.block.map_or(0, |block| self.xattr_blocks + block),
            in_inode_xattrs: xattrs.in_inode,
        };
        Ok(described.encode())
    }

    /// The first block of a file whose content stays in its layer.
    fn in_layer(&mut self, plan: &Plan, placed: &Placed, layer: u16, block: u32) -> Result<u32, Error> {
        if placed.blocks == 0 {
            return Ok(0);
        }
        let index = usize::from(layer);
        let end = u64::from(block) + u64::from(placed.blocks);
        let (Some(&begin), Some(files)) = (self.begins.get(index), self.layers.get(index)) else {
            return Err(Error::TooLarge);
        };
        if end > files.data_length / BLOCK as u64 {
            return Err(Error::Beyond(self.name_of(plan, placed)));
        }
        self.used.push(begin + block..begin + end as u32);
        Ok(begin + block)
    }

    /// A name of an inode, which is looked for.
    fn name_of(&self, plan: &Plan, placed: &Placed) -> String {
        let node = plan.order.iter().find(|&&node| self.tree.inode_of(node) == placed.inode);
        node.map_or_else(String::new, |&node| path(self.tree, node))
    }

    /// Writes a directory's entries; its number of links and its size are returned.
    fn directory(&mut self, plan: &Plan, index: u32, blocks: u32) -> Result<(u32, u64), Error> {
        let directory = &plan.directories[index as usize];
        let tree = self.tree;
        let entry = |name, node| {
            let inode = tree.inode_of(node);
            let file_type = type_number(tree.inode(inode).file_type());
            Entry { name, inode: plan.numbers[inode as usize], file_type }
        };
        let dots = [(&b"."[..], directory.node), (b"..", tree.parent(directory.node))];
        let dots = dots.into_iter().map(|(name, node)| entry(name, node));
        let others = plan.order[directory.entries.clone()].iter().map(|&node| entry(tree.name(node), node));
        self.scratch.clear();
        directory::encode(dots.chain(others), &mut self.scratch);
        self.contents.append(&self.scratch).map_err(Error::Write)?;
        // One that has too many subdirectories to count them says so with 1.
        let links = directory.subdirectories + 2;
        let links = if links > MAX_LINKS { 1 } else { links };
        Ok((links, u64::from(blocks) * BLOCK as u64))
    }

    /// Copies a file's content. Zeroes are left to the image, which has them already: holes stay holes.
    fn copy(&mut self, row: &InodeRow, size: u64, place: Place) -> Result<(), Error> {
        let (layer, begin) = content_place(self.tree, row, place);
        let mut done = 0;
        while done < size {
            let bytes = (CHUNK as u64).min(size - done);
            self.scratch.resize(bytes as usize, 0);
            self.reader.read(layer, begin + done, &mut self.scratch)?;
            if bytes > BLOCK as u64 && self.scratch[..] == ZEROES[..bytes as usize] {
                self.contents.skip(bytes).map_err(Error::Write)?;
            } else {
                self.contents.append(&self.scratch).map_err(Error::Write)?;
            }
            done += bytes;
        }
        Ok(())
    }

    /// Writes what stands before the inode tables.
    fn groups(self, plan: &Plan, uuid: [u8; 16], out: &File) -> Result<(), Error> {
        let geometry = &self.geometry;
        let mut used = self.used;
        used.push(0..geometry.contents + plan.blocks as u32);
        let directories = plan.placed.iter().filter(|placed| placed.directory.is_some());
        let directories = directories.map(|placed| plan.numbers[placed.inode as usize]);
        let mut used = UsedBlocks::new(used);
        let groups = describe(geometry, &mut used, plan.inodes(), directories, |block, bitmap| {
            out.write_all_at(bitmap, u64::from(block) * BLOCK as u64).map_err(Error::Write)
        })?;
        let mut descriptors = Area::new(out, BLOCK as u64);
        for descriptor in &groups.descriptors {
            descriptors.append(descriptor.as_bytes()).map_err(Error::Write)?;
        }
        descriptors.flush().map_err(Error::Write)?;
        let super_block = super_block(geometry, &groups, uuid);
        out.write_all_at(super_block.as_bytes(), SUPER_OFFSET as u64).map_err(Error::Write)
    }
}

fn super_block(geometry: &Geometry, groups: &Groups, uuid: [u8; 16]) -> SuperBlock {
    SuperBlock {
        inodes: (geometry.groups * geometry.inodes_per_group).into(),
        blocks: geometry.blocks.into(),
        free_blocks: groups.free_blocks.into(),
        free_inodes: groups.free_inodes.into(),
        log_block_size: (BLOCK.trailing_zeros() - 10).into(),
        log_cluster_size: (BLOCK.trailing_zeros() - 10).into(),
        blocks_per_group: geometry.blocks_per_group.into(),
        clusters_per_group: geometry.blocks_per_group.into(),
        inodes_per_group: geometry.inodes_per_group.into(),
        max_mounts: MOUNTS_UNLIMITED.into(),
        magic: SUPER_MAGIC.into(),
        state: STATE_VALID.into(),
        errors: ERRORS_CONTINUE.into(),
        revision: REVISION.into(),
        first_inode: (RESERVED_INODES + 1).into(),
        inode_size: (INODE as u16).into(),
        feature_compat: FEATURES_COMPAT.into(),
        feature_incompat: FEATURES_INCOMPAT.into(),
        feature_ro_compat: FEATURES_RO_COMPAT.into(),
        uuid,
        hash_seed: uuid,
        hash_version: 1,
        mount_options: MOUNT_XATTR_USER_ACL.into(),
        min_extra_size: (EXTRA_SIZE as u16).into(),
        want_extra_size: (EXTRA_SIZE as u16).into(),
        flags: FLAG_UNSIGNED_HASH.into(),
        ..SuperBlock::default()
    }
}
