//! The first blocks of a file system: super block and inodes, which come in no order.

use super::Error;
use super::format::BLOCK;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Where inodes are put until they are on disk.
pub enum InodeArea<'a> {
    /// Written at once, at the end: for images that have but directories and large files of their own.
    InMemory(Vec<u8>),
    /// Written one by one: all small files of an image could be more than there is memory.
    InFile(&'a File),
}

impl InodeArea<'_> {
    pub fn in_memory(blocks: u32) -> InodeArea<'static> {
        InodeArea::InMemory(vec![0; blocks as usize * BLOCK])
    }

    /// Puts an inode that many bytes from the begin.
    pub fn put(&mut self, offset: u64, inode: &[u8]) -> Result<(), Error> {
        match self {
            InodeArea::InMemory(area) => {
                area[offset as usize..][..inode.len()].copy_from_slice(inode);
                Ok(())
            }
            InodeArea::InFile(file) => file.write_all_at(inode, offset).map_err(Error::Write),
        }
    }

    /// Has the super block put into the first block, and sees to it that everything is in `out`.
    pub fn finish(self, out: &File, super_block: impl FnOnce(&mut [u8])) -> Result<(), Error> {
        match self {
            InodeArea::InMemory(mut area) => {
                super_block(&mut area);
                out.write_all_at(&area, 0).map_err(Error::Write)
            }
            InodeArea::InFile(file) => {
                let mut block = [0; BLOCK];
                // There may be nothing yet behind the last inode.
                let mut read = 0;
                while read < BLOCK {
                    match file.read_at(&mut block[read..], read as u64).map_err(Error::Write)? {
                        0 => break,
                        length => read += length,
                    }
                }
                super_block(&mut block);
                out.write_all_at(&block, 0).map_err(Error::Write)
            }
        }
    }
}
