//! Where everything of an image's metadata goes, before any of it is written.
//!
//! The metadata file is [super block and inodes | blocks of large directories | shared xattrs], the layers'
//! data files follow it. Inodes that layers brought finished are named where they are.

use super::directory;
use super::format::{BLOCK, COMPACT_INODE, EXTENDED_INODE, Layout, SLOT, SUPER_OFFSET, SuperBlock};
use super::inode::{Epoch, fits_compact};
use super::packing::Packer;
use super::shared_xattrs::EncodedXattrs;
use crate::tree::{self, Body, InodeRow, Node, Place, ROOT, Tree};
use std::collections::HashMap;
use std::ops::Range;

/// A directory of the tree.
pub struct Directory {
    pub node: Node,
    /// Its entries in [`Plan::order`].
    pub entries: Range<usize>,
    /// Bytes.
    pub size: u64,
    pub layout: Layout,
    /// Its first block in the metadata file, if it has any beyond what is inlined.
    pub first_block: u32,
    /// Its name in its parent, its own `.` and the `..` of each directory in it.
    pub links: u32,
}

/// An inode that is in the metadata file.
pub struct Placed {
    pub inode: tree::Inode,
    /// Index of the directory that it is.
    pub directory: Option<u32>,
    pub compact: bool,
    /// Bytes from the begin of the metadata file.
    pub offset: u64,
}

/// What becomes of the small files that layers bring as finished inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmallFiles {
    /// They stay where they are, but for those with several names.
    InLayers,
    /// They become inodes of the image's own.
    Own,
}

pub struct Plan {
    pub small_files: SmallFiles,
    /// The nodes of every directory, sorted by name.
    pub order: Vec<Node>,
    pub directories: Vec<Directory>,
    pub placed: Vec<Placed>,
    /// Nids by inode; those of settled inodes are filled in last.
    pub nids: Vec<u64>,
    pub inodes: u64,
    pub epoch: Epoch,
    /// Blocks of the super block and the inodes.
    pub inode_blocks: u32,
    /// Where shared xattrs begin.
    pub xattr_block: u32,
    /// Blocks of the metadata file.
    pub blocks: u32,
}

impl SmallFiles {
    /// Whether a finished inode in a layer stands for this one.
    pub fn is_settled(self, inode: &InodeRow) -> bool {
        self == SmallFiles::InLayers
            && matches!(inode.place(), Some(Place::Settled { .. }))
            && inode.links == 1
    }
}

/// The modification time that most of the image's own inodes share.
fn common_time(tree: &Tree, small_files: SmallFiles) -> Epoch {
    let mut times: HashMap<Epoch, u32> = HashMap::new();
    for row in own_inodes(tree, small_files) {
        *times.entry(row.attributes.mtime).or_default() += 1;
    }
    let common = times.into_iter().max_by_key(|&(time, count)| (count, std::cmp::Reverse(time)));
    common.map(|(time, _)| time).unwrap_or_default()
}

/// The inodes that have to be in the metadata file.
fn own_inodes(tree: &Tree, small_files: SmallFiles) -> impl Iterator<Item = &InodeRow> {
    let rows = (0..tree.inode_rows() as u32).map(|inode| tree.inode(inode));
    rows.filter(move |row| row.links > 0 && !small_files.is_settled(row))
}

/// Makes a plan; `None` if the metadata is too large for the format.
pub fn plan(tree: &Tree, small_files: SmallFiles) -> Option<(Plan, EncodedXattrs)> {
    let xattrs = EncodedXattrs::new(tree, own_inodes(tree, small_files).map(|row| row.xattrs));
    let mut planner = Planner {
        tree,
        xattrs: &xattrs,
        packer: Packer::with_used(SUPER_OFFSET + size_of::<SuperBlock>()),
        plan: Plan {
            small_files,
            order: Vec::new(),
            directories: Vec::new(),
            placed: Vec::new(),
            nids: vec![0; tree.inode_rows()],
            inodes: 0,
            epoch: common_time(tree, small_files),
            inode_blocks: 0,
            xattr_block: 0,
            blocks: 0,
        },
        directory_blocks: 0,
    };
    let mut directories = vec![ROOT];
    while let Some(node) = directories.pop() {
        planner.directory(node, &mut directories);
    }
    let Planner { packer, mut plan, directory_blocks, .. } = planner;
    plan.inode_blocks = packer.blocks();
    for directory in &mut plan.directories {
        directory.first_block += plan.inode_blocks;
    }
    let shared_blocks = u32::try_from(xattrs.shared.len().div_ceil(BLOCK)).ok()?;
    plan.xattr_block = plan.inode_blocks.checked_add(directory_blocks)?;
    plan.blocks = plan.xattr_block.checked_add(shared_blocks)?;
    Some((plan, xattrs))
}

struct Planner<'a> {
    tree: &'a Tree,
    xattrs: &'a EncodedXattrs,
    packer: Packer,
    plan: Plan,
    directory_blocks: u32,
}

impl Planner<'_> {
    /// Places a directory's inode and those of its files; its directories are put on `later`.
    fn directory(&mut self, node: Node, later: &mut Vec<Node>) {
        let tree = self.tree;
        let begin = self.plan.order.len();
        self.plan.order.extend(tree.children(node));
        self.plan.order[begin..].sort_unstable_by_key(|&child| tree.name(child));
        let entries = begin..self.plan.order.len();

        let mut names: Vec<&[u8]> = self.plan.order[begin..].iter().map(|&child| tree.name(child)).collect();
        for dots in [&b"."[..], b".."] {
            let at = names.partition_point(|&name| name < dots);
            names.insert(at, dots);
        }
        let size = directory::size(&names);
        let inode = tree.inode_of(node);
        let is_directory = |&&child: &&Node| tree.is_directory(child);
        let links = 2 + self.plan.order[begin..].iter().filter(is_directory).count() as u32;
        let core = self.core(inode, size, links);
        let tail = (size % BLOCK as u64) as usize;
        let blocks = size.div_ceil(BLOCK as u64) as u32;
        let inlined = tail > 0 && core + tail <= BLOCK;
        let (layout, own_blocks) = match inlined {
            true => (Layout::Inline, blocks - 1),
            false => (Layout::Plain, blocks),
        };
        let first_block = self.directory_blocks;
        self.directory_blocks += own_blocks;
        let index = self.plan.directories.len() as u32;
        self.place(inode, core, if inlined { tail } else { 0 }, Some(index));

        let first_later = later.len();
        for at in entries.clone() {
            let child = self.plan.order[at];
            match tree.is_directory(child) {
                true => later.push(child),
                false => self.file(tree.inode_of(child)),
            }
        }
        later[first_later..].reverse();
        self.plan.directories.push(Directory { node, entries, size, layout, first_block, links });
    }

    fn file(&mut self, inode: tree::Inode) {
        let row = self.tree.inode(inode);
        if self.plan.small_files.is_settled(row) {
            self.plan.inodes += 1;
            return;
        }
        // Another name of the inode came earlier.
        if self.plan.nids[inode as usize] != 0 {
            return;
        }
        let size = self.content_size(row);
        let core = self.core(inode, size, row.links);
        let inlined = match row.place() {
            Some(Place::Settled { .. }) => size as usize,
            _ => 0,
        };
        self.place(inode, core, inlined, None);
    }

    pub fn content_size(&self, row: &InodeRow) -> u64 {
        match row.body {
            Body::File { size, .. } => size,
            Body::Symlink { target, .. } => self.tree.text(target).len() as u64,
            _ => 0,
        }
    }

    /// Bytes of an inode and its xattrs.
    fn core(&self, inode: tree::Inode, size: u64, nlink: u32) -> usize {
        let row = self.tree.inode(inode);
        let bytes = match fits_compact(&row.attributes, nlink, size, self.plan.epoch) {
            true => COMPACT_INODE,
            false => EXTENDED_INODE,
        };
        bytes + self.xattrs.get(row.xattrs).len()
    }

    fn place(&mut self, inode: tree::Inode, core: usize, inlined: usize, directory: Option<u32>) {
        let bytes = core + inlined;
        let offset = match bytes <= BLOCK {
            true => {
                let place = self.packer.place(bytes);
                u64::from(place.block) * BLOCK as u64 + place.offset as u64
            }
            false => u64::from(self.packer.place_large(bytes)) * BLOCK as u64,
        };
        let compact = core - self.xattrs.get(self.tree.inode(inode).xattrs).len() == COMPACT_INODE;
        self.plan.inodes += 1;
        self.plan.nids[inode as usize] = offset / SLOT as u64;
        self.plan.placed.push(Placed { inode, directory, compact, offset });
    }
}
