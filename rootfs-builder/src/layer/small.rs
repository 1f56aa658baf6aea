//! Files so small that inode and content share a block: they are in the layer's data file as finished
//! inodes, and any image's directories can name them.

use super::data::DataFile;
use super::{Attributes, Error, FileType};
use crate::erofs::format::{BLOCK, EXTENDED_INODE, Layout, XATTR_HEADER};
use crate::erofs::inode::Inode;
use crate::erofs::packing::Packer;
use crate::erofs::xattr;
use crate::layer::tar::Xattr;

/// The inode blocks of a layer that is being read.
#[derive(Default)]
pub struct SmallFiles {
    packer: Packer,
    /// Blocks that are still open, by number.
    open: Vec<(u32, Box<[u8; BLOCK]>)>,
    /// Where in the data file each inode block is.
    positions: Vec<u32>,
    inode: Vec<u8>,
    inodes: u32,
}

/// A finished inode: which inode block, and how many bytes into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    pub block: u32,
    pub offset: usize,
}

/// Whether content and xattrs of these sizes go into one block with their inode.
pub fn is_small(size: u64, xattr_bytes: usize) -> bool {
    size <= BLOCK as u64 && EXTENDED_INODE + xattr_bytes + size as usize <= BLOCK
}

/// A file to be settled. `union` is a device's number.
pub struct SmallFile<'a> {
    pub file_type: FileType,
    pub attributes: &'a Attributes,
    pub xattrs: &'a [Xattr],
    pub xattr_bytes: usize,
    pub union: u32,
    pub content: &'a [u8],
}

impl SmallFiles {
    /// Adds a file that [`is_small`]; a block that is full by that goes to `data`.
    pub fn add(&mut self, file: &SmallFile<'_>, data: &mut DataFile) -> Result<Settled, Error> {
        self.inodes = self.inodes.wrapping_add(1);
        self.inode.clear();
        Inode {
            file_type: file.file_type,
            attributes: file.attributes,
            nlink: 1,
            size: file.content.len() as u64,
            layout: if file.content.is_empty() { Layout::Plain } else { Layout::Inline },
            union: file.union,
            xattr_bytes: file.xattr_bytes,
            ino: self.inodes,
        }
        .write_extended(&mut self.inode);
        if file.xattr_bytes > 0 {
            xattr::write_header(0, &mut self.inode);
            for Xattr { name, value } in file.xattrs {
                xattr::write_entry(name, value, &mut self.inode);
            }
        }
        debug_assert_eq!(self.inode.len(), EXTENDED_INODE + file.xattr_bytes);

        let bytes = self.inode.len() + file.content.len();
        // fsck.erofs reads an xattr header behind every inode, also where there is none: let it not be beyond
        // the end of the disk.
        let place = self.packer.place(bytes.max(EXTENDED_INODE + XATTR_HEADER));
        if let Some(closed) = place.closed {
            self.close(closed, data)?;
        }
        if place.block as usize == self.positions.len() {
            self.positions.push(0);
            self.open.push((place.block, Box::new([0; BLOCK])));
        }
        if let Some((_, block)) = self.open.iter_mut().find(|(number, _)| *number == place.block) {
            let (inode, content) = block[place.offset..place.offset + bytes].split_at_mut(self.inode.len());
            inode.copy_from_slice(&self.inode);
            content.copy_from_slice(file.content);
        }
        Ok(Settled { block: place.block, offset: place.offset })
    }

    fn close(&mut self, number: u32, data: &mut DataFile) -> Result<(), Error> {
        if let Some(index) = self.open.iter().position(|(open, _)| *open == number) {
            let (_, block) = self.open.swap_remove(index);
            self.positions[number as usize] = data.block()?;
            data.append(&block[..])?;
        }
        Ok(())
    }

    /// Writes the blocks that are still open; where each block went is returned.
    pub fn finish(mut self, data: &mut DataFile) -> Result<Vec<u32>, Error> {
        for number in std::mem::take(&mut self.packer).finish() {
            self.close(number, data)?;
        }
        Ok(self.positions)
    }
}
