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
        self.resolve_by(path, |_, _| true)
    }

    /// The same, where `follow` says of each symbolic link that the path itself has, by the path up to it and its
    /// node, whether it leads anywhere.
    pub fn resolve_by(
        &self,
        path: &[u8],
        follow: impl Fn(&[u8], Node) -> bool,
    ) -> Result<Resolved, Obstacle> {
        let whole = path;
        let mut node = ROOT;
        let mut missing: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        // What is left of the path, and of the targets of links on it, innermost last; and whether it is a target.
        let mut rest: Vec<(&[u8], bool)> = vec![(path, false)];
        let mut left = path.len();
        while let Some((path, in_target)) = rest.pop() {
            let (component, after) = match path.iter().position(|&byte| byte == b'/') {
                Some(slash) => (&path[..slash], &path[slash + 1..]),
                None => (path, &[][..]),
            };
            left -= path.len() - after.len();
            if !after.is_empty() {
                rest.push((after, in_target));
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
                    // Of the path itself, `path` is what is left.
                    let so_far = || &whole[..whole.len() - path.len() + component.len()];
                    if !in_target && !follow(so_far(), child) {
                        return Err(Obstacle::NoDirectory(child));
                    }
                    links += 1;
                    let target = self.text(target);
                    left += target.len();
                    if links > MAX_LINKS || left > 16 * MAX_PATH {
                        return Err(Obstacle::Loop);
                    }
                    if target.starts_with(b"/") {
                        node = ROOT;
                    }
                    rest.push((target, true));
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
