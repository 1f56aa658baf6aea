//! ext4 images: the merged tree of some layers as one read-only file system, for kernels that have no EROFS.
//!
//! As with EROFS, large files stay in the layers' data files, which are parts of the disk. ext4 has nothing like
//! EROFS's small files beside their inodes, so those are copied to blocks of the image's own.

mod acl;
mod area;
mod bitmaps;
mod directory;
mod extents;
mod format;
mod geometry;
mod inode;
mod plan;
mod write;
mod xattr;
mod xattr_blocks;

pub use plan::LargeFiles;

use crate::erofs::{self, LayerFiles};
use format::{BLOCK, FEATURES_COMPAT, FEATURES_INCOMPAT, SUPER_MAGIC, SUPER_OFFSET, SuperBlock};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What was made of some layers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bytes written, a multiple of 4096.
    pub length: u64,
    /// Inodes of the merged tree.
    pub inodes: u64,
    /// UUID of the file system, a function of the layers' contents.
    pub uuid: [u8; 16],
}

/// Why layers cannot be an ext4, each in one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Layers(#[from] erofs::Error),
    #[error("the image is over the 16 TiB that ext4 can hold")]
    TooLarge,
    #[error("`{0}`: its extended attributes are over the 4 KiB that ext4 has for them; EROFS can hold them")]
    Xattrs(String),
    #[error("`{path}` has {links} names, over the 65000 that ext4 can count; EROFS can hold it")]
    Links { path: String, links: u32 },
    #[error("`{path}` has {size} bytes, over the 16 TiB that ext4 can hold in a file")]
    FileTooLarge { path: String, size: u64 },
    #[error("`{0}` has more entries than an ext4 directory can hold; EROFS can hold them")]
    DirectoryTooLarge(String),
    #[error("`{0}` is said to be where its layer has no data")]
    Beyond(String),
    #[error("writing the image's ext4: {0}")]
    Write(#[source] io::Error),
}

impl Error {
    /// Whether a layer's files are not what they were when they were written.
    pub fn is_damage(&self) -> bool {
        match self {
            Error::Layers(error) => error.is_damage(),
            error => matches!(error, Error::Beyond(_)),
        }
    }
}

/// Merges `layers`, lowest first, and writes what ext4 needs of its own to the empty file `out`. The disk is
/// [`out` | data of the first layer | data of the second | …], or only `out` if large files are to be in it, too.
pub fn write(layers: &[LayerFiles<'_>], large: LargeFiles, out: &File) -> Result<Summary, Error> {
    write::write(layers, large, out)
}

/// The bytes of the whole disk that begins with this file, as its super block has them; none if that is no ext4 of
/// ours.
pub fn disk_length(file: &File) -> Option<u64> {
    let mut bytes = [0; size_of::<SuperBlock>()];
    file.read_exact_at(&mut bytes, SUPER_OFFSET as u64).ok()?;
    let super_block: SuperBlock = zerocopy::transmute!(bytes);
    let is_ours = super_block.magic.get() == SUPER_MAGIC
        && super_block.feature_compat.get() == FEATURES_COMPAT
        && super_block.feature_incompat.get() == FEATURES_INCOMPAT;
    is_ours.then(|| u64::from(super_block.blocks.get()) * BLOCK as u64)
}
