//! What is in an ext4 image and in which order, before any of it is written.

use super::Error;
use super::directory;
use super::extents::tree_blocks;
use super::format::{BLOCK, INODE_BLOCK, MAX_LINKS, RESERVED_INODES, ROOT_INODE};
use super::xattr_blocks::XattrBlocks;
use crate::layer::name::Name;
use crate::tree::{self, Body, InodeRow, Node, Place, ROOT, Tree};
use std::ops::Range;

/// Where files with blocks of their own in a layer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LargeFiles {
    /// They stay in the layers' data files.
    InLayers,
    /// They are copied: the image is complete in itself.
    Copied,
}

/// A directory of the tree.
pub struct Directory {
    pub node: Node,
    /// Its entries in [`Plan::order`].
    pub entries: Range<usize>,
    pub subdirectories: u32,
}

/// An inode.
pub struct Placed {
    pub inode: tree::Inode,
    /// Index of the directory that it is.
    pub directory: Option<u32>,
    /// Blocks of its content, wherever they are.
    pub blocks: u32,
    /// Whether they are among the image's own.
    pub own: bool,
}

pub struct Plan {
    pub large: LargeFiles,
    /// The nodes of every directory, sorted by name.
    pub order: Vec<Node>,
    pub directories: Vec<Directory>,
    /// In the order of their numbers; the root is the first.
    pub placed: Vec<Placed>,
    /// ext4's numbers by inode.
    pub numbers: Vec<u32>,
    /// Blocks of contents that are the image's own, extent trees and xattrs among them.
    pub blocks: u64,
    pub xattrs: XattrBlocks,
}

impl Plan {
    pub fn new(tree: &Tree, large: LargeFiles) -> Result<Plan, Error> {
        let mut plan = Plan {
            large,
            order: Vec::new(),
            directories: Vec::new(),
            placed: Vec::new(),
            numbers: vec![0; tree.inode_rows()],
            blocks: 0,
            xattrs: XattrBlocks::default(),
        };
        let mut directories = vec![ROOT];
        plan.numbers[tree.inode_of(ROOT) as usize] = ROOT_INODE;
        while let Some(node) = directories.pop() {
            plan.directory(tree, node, &mut directories)?;
        }
        plan.blocks += plan.xattrs.settle();
        Ok(plan)
    }

    /// Inodes without those that the format reserves; the root is one of these.
    pub fn inodes(&self) -> u32 {
        self.placed.len() as u32 - 1
    }

    /// Places a directory and its files; its directories are put on `later`.
    fn directory(&mut self, tree: &Tree, node: Node, later: &mut Vec<Node>) -> Result<(), Error> {
        let begin = self.order.len();
        self.order.extend(tree.children(node));
        self.order[begin..].sort_unstable_by_key(|&child| tree.name(child));
        let entries = begin..self.order.len();

        let dots = [&b"."[..], b".."].into_iter();
        let blocks = directory::blocks(dots.chain(self.order[begin..].iter().map(|&child| tree.name(child))));
        let blocks = u32::try_from(blocks).ok().filter(|blocks| *blocks < (1 << 31) / BLOCK as u32);
        let blocks = blocks.ok_or_else(|| Error::DirectoryTooLarge(path(tree, node)))?;
        let index = self.directories.len() as u32;
        self.place(tree, node, Some(index), blocks, true)?;

        let first_later = later.len();
        for at in entries.clone() {
            let child = self.order[at];
            match tree.is_directory(child) {
                true => later.push(child),
                false => self.file(tree, child)?,
            }
        }
        let subdirectories = (later.len() - first_later) as u32;
        later[first_later..].reverse();
        self.directories.push(Directory { node, entries, subdirectories });
        Ok(())
    }

    fn file(&mut self, tree: &Tree, node: Node) -> Result<(), Error> {
        let row = tree.inode(tree.inode_of(node));
        // Another name of the inode came earlier.
        if self.numbers[tree.inode_of(node) as usize] != 0 {
            return Ok(());
        }
        if row.links > MAX_LINKS {
            return Err(Error::Links { path: path(tree, node), links: row.links });
        }
        let size = content_size(tree, row);
        let too_large = || Error::FileTooLarge { path: path(tree, node), size };
        let blocks = u32::try_from(size.div_ceil(BLOCK as u64)).map_err(|_| too_large())?;
        let stays = matches!(
            (row.body, self.large),
            (Body::File { place: Place::Plain { .. }, .. }, LargeFiles::InLayers,)
        );
        self.place(tree, node, None, blocks, !stays)
    }

    fn place(
        &mut self,
        tree: &Tree,
        node: Node,
        directory: Option<u32>,
        blocks: u32,
        own: bool,
    ) -> Result<(), Error> {
        let inode = tree.inode_of(node);
        let noted = self.xattrs.note(tree, tree.inode(inode).xattrs);
        noted.map_err(|_| Error::Xattrs(path(tree, node)))?;
        if let Some(number) = u32::try_from(self.placed.len()).ok().filter(|&number| number > 0) {
            self.numbers[inode as usize] = number.checked_add(RESERVED_INODES).ok_or(Error::TooLarge)?;
        }
        self.blocks += u64::from(tree_blocks(blocks)) + if own { u64::from(blocks) } else { 0 };
        self.placed.push(Placed { inode, directory, blocks, own });
        Ok(())
    }
}

/// Bytes of an inode's content that are in blocks.
pub fn content_size(tree: &Tree, row: &InodeRow) -> u64 {
    match row.body {
        Body::File { size, .. } => size,
        Body::Symlink { target, .. } => match tree.text(target).len() {
            length if length < INODE_BLOCK => 0,
            length => length as u64,
        },
        _ => 0,
    }
}

/// A node's path, for people.
pub fn path(tree: &Tree, node: Node) -> String {
    Name(&[b"/", &tree.path(node)[..]].concat()).to_string()
}
