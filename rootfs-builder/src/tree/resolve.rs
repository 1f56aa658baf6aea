//! Finding directories in the tree as a kernel would with the tree as its root: symbolic links on the way are
//! followed, and nothing leads out.

use super::{Body, Full, Node, ROOT, Tree, new_directory};
use crate::layer::name::MAX_PATH;

/// Symbolic links on one path, as many as Linux follows.
const MAX_LINKS: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Something on the way is neither a directory nor a link to one.
    NoDirectory(Node),
    Loop,
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The last directory that exists.
    pub node: Node,
    /// Directories below it that do not.
    pub missing: Vec<Vec<u8>>,
    /// Whether a symbolic link was on the way.
    pub through_link: bool,
}

impl Tree {
    /// Follows a clean path to a directory.
    pub fn resolve(&self, path: &[u8]) -> Result<Resolved, Obstacle> {
        let mut node = ROOT;
        let mut missing: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        // What is left of the path, and of the targets of links on it, innermost last.
        let mut rest: Vec<&[u8]> = vec![path];
        let mut left = path.len();
        while let Some(path) = rest.pop() {
            let (component, after) = match path.iter().position(|&byte| byte == b'/') {
                Some(slash) => (&path[..slash], &path[slash + 1..]),
                None => (path, &[][..]),
            };
            left -= path.len() - after.len();
            if !after.is_empty() {
                rest.push(after);
            }
            match component {
                b"" | b"." => continue,
                b".." => {
                    if missing.pop().is_none() {
                        node = self.parent(node);
                    }
                    continue;
                }
                _ if !missing.is_empty() => {
                    missing.push(component.to_vec());
                    continue;
                }
                _ => {}
            }
            let Some(child) = self.child(node, component) else {
                missing.push(component.to_vec());
                continue;
            };
            match self.row(child).body {
                Body::Directory { .. } => node = child,
                Body::Symlink { target, .. } => {
                    links += 1;
                    let target = self.text(target);
                    left += target.len();
                    if links > MAX_LINKS || left > 16 * MAX_PATH {
                        return Err(Obstacle::Loop);
                    }
                    if target.starts_with(b"/") {
                        node = ROOT;
                    }
                    rest.push(target);
                }
                _ => return Err(Obstacle::NoDirectory(child)),
            }
        }
        Ok(Resolved { node, missing, through_link: links > 0 })
    }

    /// Makes the directories that a path lacks.
    pub fn make(&mut self, resolved: &Resolved) -> Result<Node, Full> {
        let mut node = resolved.node;
        for name in &resolved.missing {
            let inode = self.add_inode(new_directory())?;
            node = self.link(node, name, inode)?;
        }
        Ok(node)
    }

    /// A node's path, for messages.
    pub fn path(&self, mut node: Node) -> Vec<u8> {
        let mut names = Vec::new();
        while node != ROOT {
            names.push(self.name(node));
            node = self.parent(node);
        }
        names.reverse();
        names.join(&b'/')
    }
}

#[cfg(test)]
#[path = "resolve_test.rs"]
mod tests;
