//! Applying layers to a tree, lowest first, by the OCI image specification ("Applying Changesets").
//!
//! Everything is applied in the archive's order, as by a program that extracts it.

use super::marks::Own;
use super::resolve::Obstacle;
use super::{Body, Full, InodeRow, Node, Place, ROOT, Tree, XattrSet};
use crate::erofs::format::BLOCK;
use crate::layer::name::{AUFS_LINKS, MAX_COMPONENT, Name, split};
use crate::layer::table::{self, Damage, Record, Table};

#[derive(Debug, thiserror::Error)]
#[error("layer {layer}, tar entry `{name}`: {problem}")]
pub struct Error {
    /// Counts from 1, the lowest.
    pub layer: usize,
    pub name: String,
    pub problem: Problem,
}

/// Why an entry cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("it lies below `{0}`, which is no directory")]
    NoDirectory(String),
    #[error("there is a loop of symbolic links on its way")]
    Loop,
    #[error("it is a hard link to `{0}`, which does not exist")]
    NoTarget(String),
    #[error("it is a hard link to `{0}`, a directory")]
    LinkToDirectory(String),
    #[error("it has a name of more than {MAX_COMPONENT} bytes on its way")]
    LongName,
    #[error(transparent)]
    Full(#[from] Full),
    #[error("the layer's entry table is damaged: {0}")]
    Damage(#[from] Damage),
}

impl Error {
    fn new(layer: u16, path: &[u8], problem: Problem) -> Error {
        Error { layer: usize::from(layer) + 1, name: Name(path).to_string(), problem }
    }
}

/// Applies a layer to the tree.
pub fn merge(tree: &mut Tree, layer: u16, table: &Table) -> Result<(), Error> {
    let own = Own::new(tree, table);
    let own = own.map_err(|damage| Error::new(layer, b"", damage.into()))?;
    Merge { tree, layer, table, own, directory: Vec::new(), node: None }.entries()
}

struct Merge<'a> {
    tree: &'a mut Tree,
    layer: u16,
    table: &'a Table,
    own: Own,
    /// The directory of the entry before and its node: what an entry removes is below its directory, so that
    /// stays where it is.
    directory: Vec<u8>,
    node: Option<Node>,
}

impl Merge<'_> {
    fn existing(&self, directory: &[u8]) -> Result<Option<Node>, Problem> {
        match self.tree.resolve(directory) {
            Ok(found) if found.missing.is_empty() => Ok(Some(found.node)),
            Ok(_) | Err(Obstacle::NoDirectory(_)) => Ok(None),
            Err(Obstacle::Loop) => Err(Problem::Loop),
        }
    }

    fn entries(&mut self) -> Result<(), Error> {
        let (layer, table) = (self.layer, self.table);
        let mut records = table.records();
        let mut link_targets = false;
        while let Some(record) = records.advance().map_err(|damage| Error::new(layer, b"", damage.into()))? {
            link_targets |= record.path.starts_with(AUFS_LINKS);
            self.entry(&record).map_err(|problem| Error::new(layer, record.path, problem))?;
        }
        // They were there to be linked to, and are not shown.
        if link_targets && let Some(node) = self.tree.child(ROOT, AUFS_LINKS) {
            self.tree.remove(node);
        }
        Ok(())
    }

    fn entry(&mut self, record: &Record<'_>) -> Result<(), Problem> {
        if let table::Body::Whiteout | table::Body::Opaque = record.body {
            // A link on the way to the directory of the entry before may be among what is hidden.
            self.node = None;
            let hidden = match record.body {
                table::Body::Whiteout => self.own.whiteout(self.tree, record.path),
                _ => self.own.opaque(self.tree, record.path),
            };
            return hidden.map_err(|obstacle| self.obstacle(obstacle));
        }
        if record.path.is_empty() {
            return self.directory_attributes(ROOT, record);
        }
        let (directory, name) = split(record.path);
        let parent = self.parent(directory)?;
        let existing = self.tree.child(parent, name);
        let same = existing.filter(|&node| self.tree.is_directory(node));
        if let (table::Body::Directory, Some(node)) = (record.body, same) {
            return self.directory_attributes(node, record);
        }
        if let Some(node) = existing {
            self.tree.remove(node);
        }
        let inode = match record.body {
            table::Body::HardLink { target } => self.target(target)?,
            _ => self.inode(record)?,
        };
        self.tree.link(parent, name, inode)?;
        Ok(())
    }

    fn directory_attributes(&mut self, node: Node, record: &Record<'_>) -> Result<(), Problem> {
        let xattrs = self.xattrs(record)?;
        self.own.share(self.tree, node);
        let inode = self.tree.inode_of(node) as usize;
        self.tree.inodes[inode].attributes = record.attributes;
        self.tree.inodes[inode].xattrs = xattrs;
        Ok(())
    }

    fn xattrs(&mut self, record: &Record<'_>) -> Result<XattrSet, Problem> {
        Ok(self.tree.xattrs.intern(record.xattrs)??)
    }

    /// The directory of an entry, made if need be.
    fn parent(&mut self, directory: &[u8]) -> Result<Node, Problem> {
        if let Some(node) = self.node.filter(|_| self.directory == directory) {
            return Ok(node);
        }
        let resolved = self.tree.resolve(directory).map_err(|obstacle| self.obstacle(obstacle))?;
        // A target of a symbolic link may have longer names than an archive's.
        if resolved.missing.iter().any(|name| name.len() > MAX_COMPONENT) {
            return Err(Problem::LongName);
        }
        self.own.share(self.tree, resolved.node);
        let node = self.tree.make(&resolved)?;
        self.directory.clear();
        self.directory.extend_from_slice(directory);
        self.node = Some(node);
        Ok(node)
    }

    fn obstacle(&self, obstacle: Obstacle) -> Problem {
        match obstacle {
            Obstacle::Loop => Problem::Loop,
            Obstacle::NoDirectory(node) => Problem::NoDirectory(Name(&self.tree.path(node)).to_string()),
        }
    }

    /// The inode that a hard link names.
    fn target(&mut self, target: &[u8]) -> Result<u32, Problem> {
        let (directory, name) = split(target);
        let node = self.existing(directory)?.and_then(|node| match name {
            b"" => Some(node),
            name => self.tree.child(node, name),
        });
        match node {
            None => Err(Problem::NoTarget(Name(target).to_string())),
            Some(node) if self.tree.is_directory(node) => {
                Err(Problem::LinkToDirectory(Name(target).to_string()))
            }
            Some(node) => Ok(self.tree.inode_of(node)),
        }
    }

    fn inode(&mut self, record: &Record<'_>) -> Result<u32, Problem> {
        let body = match record.body {
            table::Body::File { size, place } => Body::File { size, place: self.place(place)? },
            table::Body::Symlink { target, place } => {
                let place = self.place(place)?;
                Body::Symlink { target: self.tree.add_text(target)?, place }
            }
            table::Body::CharacterDevice { number, place } => {
                Body::CharacterDevice { number, place: self.place(place)? }
            }
            table::Body::BlockDevice { number, place } => {
                Body::BlockDevice { number, place: self.place(place)? }
            }
            table::Body::Fifo { place } => Body::Fifo { place: self.place(place)? },
            _ => Body::Directory { first_child: super::NONE },
        };
        let xattrs = self.xattrs(record)?;
        Ok(self.tree.add_inode(InodeRow { attributes: record.attributes, xattrs, links: 0, body })?)
    }

    fn place(&self, place: table::Place) -> Result<Place, Problem> {
        let layer = self.layer;
        Ok(match place {
            table::Place::Plain { block } => Place::Plain { layer, block },
            table::Place::Settled { block, offset } => {
                let offset = u64::from(self.table.inode_block(block)?) * BLOCK as u64 + u64::from(offset);
                if offset >= self.table.data_bytes() {
                    return Err(Damage::Record.into());
                }
                Place::Settled { layer, offset }
            }
        })
    }
}

#[cfg(test)]
#[path = "merge_test.rs"]
mod tests;
