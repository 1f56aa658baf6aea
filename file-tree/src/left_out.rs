//! What was not made, so that its other names are not made either.

use std::collections::HashSet;

/// How long all paths may be, together, in bytes. What is beyond is not remembered: a link to it is one to nothing.
const MOST: usize = 4 << 20;

#[derive(Default)]
pub struct LeftOut {
    paths: HashSet<Vec<u8>>,
    bytes: usize,
}

impl LeftOut {
    pub fn remember(&mut self, path: &[u8]) {
        if self.bytes + path.len() <= MOST && self.paths.insert(path.to_vec()) {
            self.bytes += path.len();
        }
    }

    pub fn has(&self, path: &[u8]) -> bool {
        self.paths.contains(path)
    }
}
