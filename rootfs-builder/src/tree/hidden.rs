//! What layers hold that the tree does not show.

use super::{Body, InodeRow, Place, Tree};
use crate::erofs::format::{BLOCK, EXTENDED_INODE, SLOT};
use crate::erofs::xattr::inline_bytes;

impl Tree {
    /// Of each layer, the bytes of its data file that belong to inodes no name is left of: whole blocks of plain
    /// files; of small ones, inode and content.
    pub fn hidden_bytes(&self, layers: usize) -> Vec<u64> {
        let mut hidden = vec![0; layers];
        for row in self.inodes.iter().filter(|row| row.links == 0) {
            let bytes = self.data_bytes(row);
            if let Some(Place::Settled { layer, .. } | Place::Plain { layer, .. }) = row.place()
                && let Some(sum) = hidden.get_mut(usize::from(layer))
            {
                *sum += bytes;
            }
        }
        hidden
    }

    /// Bytes that an inode takes in its layer's data file.
    fn data_bytes(&self, row: &InodeRow) -> u64 {
        let size = match row.body {
            Body::File { size, .. } => size,
            Body::Symlink { target, .. } => self.text(target).len() as u64,
            _ => 0,
        };
        match row.place() {
            Some(Place::Plain { .. }) => size.next_multiple_of(BLOCK as u64),
            Some(Place::Settled { .. }) => {
                let xattrs = inline_bytes(self.xattrs.get(row.xattrs).into_iter()) as u64;
                (EXTENDED_INODE as u64 + xattrs + size).next_multiple_of(SLOT as u64)
            }
            None => 0,
        }
    }
}
