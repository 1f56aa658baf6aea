//! The merged tree of an image, in memory: what its layers show, without their contents.
//!
//! Names, directory entries (*nodes*) and inodes are rows of tables that refer to each other by index, about
//! 150 bytes a file.

mod hidden;
mod limits;
mod marks;
mod merge;
mod resolve;
mod xattrs;

pub use limits::{Full, Limits};
pub use merge::{Error, Problem, merge};
pub use xattrs::{XattrSet, XattrSets};

use crate::layer::{Attributes, FileType};
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Index of a directory entry.
pub type Node = u32;
/// Index of an inode.
pub type Inode = u32;

pub const ROOT: Node = 0;
const NONE: u32 = u32::MAX;

/// Where an inode or its content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the layer's data file there is a finished inode, this many bytes from the file's begin.
    Settled { layer: u16, offset: u64 },
    /// The content begins at this block of the layer's data file.
    Plain { layer: u16, block: u32 },
}

#[derive(Clone, Copy, Debug)]
pub enum Body {
    Directory { first_child: Node },
    File { size: u64, place: Place },
    Symlink { target: Text, place: Place },
    CharacterDevice { number: u32, place: Place },
    BlockDevice { number: u32, place: Place },
    Fifo { place: Place },
}

/// Bytes in the tree's text.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    begin: u32,
    length: u16,
}

#[derive(Clone, Debug)]
pub struct InodeRow {
    pub attributes: Attributes,
    pub xattrs: XattrSet,
    /// Directory entries that name the inode; directories have one.
    pub links: u32,
    pub body: Body,
}

#[derive(Clone, Copy, Debug)]
struct NodeRow {
    parent: Node,
    inode: Inode,
    name: Text,
    previous: Node,
    next: Node,
}

/// A tree of directories with at least its root.
pub struct Tree {
    nodes: Vec<NodeRow>,
    inodes: Vec<InodeRow>,
    text: Vec<u8>,
    /// Nodes by parent and name.
    index: HashTable<Node>,
    /// Keeps an archive from choosing names whose hashes collide.
    seed: u64,
    limits: Limits,
    pub xattrs: XattrSets,
}

impl InodeRow {
    pub fn file_type(&self) -> FileType {
        match self.body {
            Body::Directory { .. } => FileType::Directory,
            Body::File { .. } => FileType::File,
            Body::Symlink { .. } => FileType::Symlink,
            Body::CharacterDevice { .. } => FileType::CharacterDevice,
            Body::BlockDevice { .. } => FileType::BlockDevice,
            Body::Fifo { .. } => FileType::Fifo,
        }
    }

    /// Where the inode or its content is; directories are nowhere yet.
    pub fn place(&self) -> Option<Place> {
        match self.body {
            Body::Directory { .. } => None,
            Body::File { place, .. }
            | Body::Symlink { place, .. }
            | Body::CharacterDevice { place, .. }
            | Body::BlockDevice { place, .. }
            | Body::Fifo { place } => Some(place),
        }
    }
}

impl Tree {
    /// A tree with nothing but a root directory.
    pub fn new() -> Tree {
        Tree::with_limits(Limits::default())
    }

    pub fn with_limits(limits: Limits) -> Tree {
        let mut tree = Tree {
            nodes: Vec::new(),
            inodes: Vec::new(),
            text: Vec::new(),
            index: HashTable::new(),
            seed: RandomState::new().hash_one(0),
            limits,
            xattrs: XattrSets::new(limits.xattr_bytes),
        };
        let name = Text { begin: 0, length: 0 };
        tree.nodes.push(NodeRow { parent: ROOT, inode: 0, name, previous: NONE, next: NONE });
        tree.inodes.push(InodeRow { links: 1, ..new_directory() });
        tree
    }

    pub fn inode_of(&self, node: Node) -> Inode {
        self.nodes[node as usize].inode
    }

    pub fn inode(&self, inode: Inode) -> &InodeRow {
        &self.inodes[inode as usize]
    }

    /// Inodes ever made, those of removed files among them.
    pub fn inode_rows(&self) -> usize {
        self.inodes.len()
    }

    fn row(&self, node: Node) -> &InodeRow {
        self.inode(self.inode_of(node))
    }

    pub fn parent(&self, node: Node) -> Node {
        self.nodes[node as usize].parent
    }

    pub fn name(&self, node: Node) -> &[u8] {
        self.text(self.nodes[node as usize].name)
    }

    pub fn text(&self, text: Text) -> &[u8] {
        &self.text[text.begin as usize..text.begin as usize + text.length as usize]
    }

    pub fn is_directory(&self, node: Node) -> bool {
        matches!(self.row(node).body, Body::Directory { .. })
    }

    /// A directory's entries, in no order.
    pub fn children(&self, directory: Node) -> Children<'_> {
        let next = match self.row(directory).body {
            Body::Directory { first_child } => first_child,
            _ => NONE,
        };
        Children { tree: self, next }
    }

    pub fn child(&self, directory: Node, name: &[u8]) -> Option<Node> {
        let same = |&node: &Node| {
            let row = &self.nodes[node as usize];
            row.parent == directory && self.text(row.name) == name
        };
        self.index.find(self.hash(directory, name), same).copied()
    }

    fn hash(&self, directory: Node, name: &[u8]) -> u64 {
        xxh3_64_with_seed(name, self.seed ^ u64::from(directory).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn add_text(&mut self, bytes: &[u8]) -> Result<Text, Full> {
        let limit = self.limits.text_bytes;
        let full = |_| Full::Text(limit);
        let begin = u32::try_from(self.text.len()).map_err(full)?;
        let length = u16::try_from(bytes.len()).map_err(full)?;
        begin.checked_add(length.into()).filter(|&end| end <= limit).ok_or(Full::Text(limit))?;
        self.text.extend_from_slice(bytes);
        Ok(Text { begin, length })
    }

    /// The index of one more row of a table that has so many.
    fn next_row(&self, rows: usize) -> Result<u32, Full> {
        let limit = self.limits.files;
        u32::try_from(rows).ok().filter(|&row| row < limit).ok_or(Full::Files(limit))
    }

    fn add_inode(&mut self, row: InodeRow) -> Result<Inode, Full> {
        let inode = self.next_row(self.inodes.len())?;
        self.inodes.push(row);
        Ok(inode)
    }

    /// Names `inode` in a directory that has no entry of this name.
    fn link(&mut self, directory: Node, name: &[u8], inode: Inode) -> Result<Node, Full> {
        let node = self.next_row(self.nodes.len())?;
        let text = self.add_text(name)?;
        let holder = self.inode_of(directory) as usize;
        let next = match &mut self.inodes[holder].body {
            Body::Directory { first_child } => std::mem::replace(first_child, node),
            _ => NONE,
        };
        if next != NONE {
            self.nodes[next as usize].previous = node;
        }
        self.nodes.push(NodeRow { parent: directory, inode, name: text, previous: NONE, next });
        self.inodes[inode as usize].links += 1;
        let hash = self.hash(directory, name);
        let (nodes, text, seed) = (&self.nodes, &self.text, self.seed);
        let rehash = |&node: &Node| {
            let row = &nodes[node as usize];
            let name = &text[row.name.begin as usize..][..row.name.length as usize];
            xxh3_64_with_seed(name, seed ^ u64::from(row.parent).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        };
        self.index.insert_unique(hash, node, rehash);
        Ok(node)
    }

    /// Takes a node and all that is below it out of the tree.
    fn remove(&mut self, node: Node) {
        let NodeRow { parent, previous, next, .. } = self.nodes[node as usize];
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if previous != NONE {
            self.nodes[previous as usize].next = next;
        } else {
            let holder = self.inode_of(parent) as usize;
            self.inodes[holder].body = Body::Directory { first_child: next };
        }
        let mut doomed = vec![node];
        while let Some(node) = doomed.pop() {
            doomed.extend(self.children(node));
            let hash = self.hash(self.parent(node), self.name(node));
            if let Ok(entry) = self.index.find_entry(hash, |&other| other == node) {
                entry.remove();
            }
            let inode = self.inode_of(node) as usize;
            self.inodes[inode].links -= 1;
        }
    }
}

impl Default for Tree {
    fn default() -> Tree {
        Tree::new()
    }
}

/// A directory that no archive speaks of.
fn new_directory() -> InodeRow {
    InodeRow {
        attributes: Attributes { mode: 0o755, ..Attributes::default() },
        xattrs: XattrSet::EMPTY,
        links: 0,
        body: Body::Directory { first_child: NONE },
    }
}

pub struct Children<'a> {
    tree: &'a Tree,
    next: Node,
}

impl Iterator for Children<'_> {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        if self.next == NONE {
            return None;
        }
        let node = self.next;
        self.next = self.tree.nodes[node as usize].next;
        Some(node)
    }
}
