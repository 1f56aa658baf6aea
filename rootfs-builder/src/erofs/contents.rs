//! Reading what layers' data files hold.

use super::format::{BLOCK, EXTENDED_INODE};
use super::{Error, LayerFiles, xattr};
use crate::tree::{InodeRow, Place, Tree};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Files open at a time: an image may have more layers than a process may have files.
const MOST_OPEN: usize = 64;

/// In which layer's data file a file's content is, and where in it, in bytes.
pub fn content_place(tree: &Tree, row: &InodeRow, place: Place) -> (u16, u64) {
    match place {
        Place::Plain { layer, block } => (layer, u64::from(block) * BLOCK as u64),
        // A finished inode comes before its content.
        Place::Settled { layer, offset } => {
            let xattrs = xattr::inline_bytes(tree.xattrs.get(row.xattrs).into_iter());
            (layer, offset + (EXTENDED_INODE + xattrs) as u64)
        }
    }
}

/// The layers' data files, opened when they are needed.
pub struct Contents<'a> {
    layers: &'a [LayerFiles<'a>],
    open: Vec<Option<File>>,
    count: usize,
}

impl<'a> Contents<'a> {
    pub fn new(layers: &'a [LayerFiles<'a>]) -> Contents<'a> {
        Contents { layers, open: layers.iter().map(|_| None).collect(), count: 0 }
    }

    /// Fills `out` from a layer's data file, beginning at that many bytes.
    pub fn read(&mut self, layer: u16, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let layer = usize::from(layer);
        let path = self.layers[layer].data;
        let error = |source| Error::Read { path: path.to_owned(), source };
        if self.open[layer].is_none() && self.count == MOST_OPEN {
            self.open.fill_with(|| None);
            self.count = 0;
        }
        let file = match &mut self.open[layer] {
            Some(file) => file,
            slot => {
                self.count += 1;
                slot.insert(File::open(path).map_err(error)?)
            }
        };
        file.read_exact_at(out, offset).map_err(error)
    }
}
