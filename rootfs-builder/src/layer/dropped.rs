//! What of a layer was left out, so that hard links to it can be left out as well.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// Paths, by hashes that an archive cannot foresee: the paths themselves could have gigabytes.
#[derive(Default)]
pub struct Dropped {
    paths: HashSet<u64>,
    hasher: RandomState,
}

impl Dropped {
    pub fn add(&mut self, path: &[u8]) {
        self.paths.insert(self.hasher.hash_one(path));
    }

    /// Something was put there after all.
    pub fn replace(&mut self, path: &[u8]) {
        if !self.paths.is_empty() {
            self.paths.remove(&self.hasher.hash_one(path));
        }
    }

    pub fn has(&self, path: &[u8]) -> bool {
        !self.paths.is_empty() && self.paths.contains(&self.hasher.hash_one(path))
    }

    pub fn len(&self) -> u64 {
        self.paths.len() as u64
    }
}
