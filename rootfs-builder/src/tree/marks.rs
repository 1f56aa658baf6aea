//! Whiteouts and opaque marks: what a layer hides of those below it.
//!
//! Like all entries they act in the archive's order, but only on what the layers below have: nothing that the
//! layer itself has brought is hidden by it, wherever in the archive the mark is.
//!
//! A mark below a symbolic link is about the link's target, unless the layer replaces the link by something of its
//! own. Then it is about that, and where the archive has the mark first, the target has to be left alone.

use super::resolve::Obstacle;
use super::{Node, ROOT, Tree};
use crate::layer::name::split;
use crate::layer::table::{Body, Damage, Table};
use std::collections::HashSet;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What of a tree belongs to the layer that is being applied.
pub struct Own {
    /// Nodes from here on.
    first: Node,
    /// Directories of the layers below that are entries of it, or have something of it below them.
    shared: HashSet<Node>,
    /// Directories of the layers below of which nothing is left but what is shared. A mark that comes again has
    /// nothing to do, however large they are.
    emptied: HashSet<Node>,
    /// Hashes of the paths that it has something at which is no link, if it has any marks.
    replacing: HashSet<u64>,
}

impl Own {
    /// Of a layer of which nothing has been applied yet.
    pub fn new(tree: &Tree, table: &Table) -> Result<Own, Damage> {
        let first = tree.nodes.len() as Node;
        let mut own =
            Own { first, shared: HashSet::new(), emptied: HashSet::new(), replacing: HashSet::new() };
        let lowest = first == ROOT + 1;
        if !lowest && has_marks(table)? {
            let mut records = table.records();
            while let Some(record) = records.advance()? {
                let marks_or_links =
                    matches!(record.body, Body::Whiteout | Body::Opaque | Body::HardLink { .. });
                if !marks_or_links && !matches!(record.body, Body::Symlink { .. }) {
                    own.replacing.insert(xxh3_64_with_seed(record.path, tree.seed));
                }
            }
        }
        Ok(own)
    }

    /// Takes note of an entry for a directory, or in it.
    pub fn share(&mut self, tree: &Tree, mut directory: Node) {
        while !self.has(directory) {
            self.shared.insert(directory);
            directory = tree.parent(directory);
        }
    }

    /// Whether a node must stay, whatever the layer hides.
    fn has(&self, node: Node) -> bool {
        node >= self.first || self.shared.contains(&node)
    }

    /// What does not exist needs no hiding.
    pub fn whiteout(&mut self, tree: &mut Tree, path: &[u8]) -> Result<(), Obstacle> {
        let (directory, name) = split(path);
        let node = self.marked(tree, directory)?.and_then(|directory| tree.child(directory, name));
        match node {
            Some(node) if self.has(node) => self.empty(tree, node),
            Some(node) => tree.remove(node),
            None => {}
        }
        Ok(())
    }

    pub fn opaque(&mut self, tree: &mut Tree, directory: &[u8]) -> Result<(), Obstacle> {
        if let Some(node) = self.marked(tree, directory)? {
            self.empty(tree, node);
        }
        Ok(())
    }

    /// The directory that a mark speaks of.
    fn marked(&self, tree: &Tree, directory: &[u8]) -> Result<Option<Node>, Obstacle> {
        let follow = |path: &[u8], link: Node| {
            link >= self.first || !self.replacing.contains(&xxh3_64_with_seed(path, tree.seed))
        };
        match tree.resolve_by(directory, follow) {
            Ok(found) if found.missing.is_empty() => Ok(Some(found.node)),
            Ok(_) | Err(Obstacle::NoDirectory(_)) => Ok(None),
            Err(Obstacle::Loop) => Err(Obstacle::Loop),
        }
    }

    /// Removes what the layers below have in a directory. Each is gone through once, for all marks together.
    fn empty(&mut self, tree: &mut Tree, directory: Node) {
        let mut pending = vec![directory];
        while let Some(directory) = pending.pop() {
            // In what the layer has made there is nothing else.
            if directory >= self.first || !self.emptied.insert(directory) {
                continue;
            }
            let children: Vec<Node> = tree.children(directory).collect();
            for child in children {
                match self.has(child) {
                    true => pending.push(child),
                    false => tree.remove(child),
                }
            }
        }
    }
}

fn has_marks(table: &Table) -> Result<bool, Damage> {
    let mut records = table.records();
    while let Some(record) = records.advance()? {
        if matches!(record.body, Body::Whiteout | Body::Opaque) {
            return Ok(true);
        }
    }
    Ok(false)
}
