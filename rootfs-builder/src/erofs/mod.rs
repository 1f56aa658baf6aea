//! EROFS images: the merged tree of some layers as one read-only file system.

mod composite;
mod contents;
mod directory;
mod flat;
pub mod format;
pub(crate) mod inode;
mod inode_area;
mod merged;
mod metadata;
pub(crate) mod packing;
mod plan;
mod shared_xattrs;
pub(crate) mod xattr;

pub use composite::write_metadata;
pub use flat::write_flat;
pub use merged::hidden_bytes;

pub(crate) use contents::{Contents, content_place};
pub(crate) use merged::{Merged, merge_layers, uuid_of};
pub(crate) use metadata::type_number;

use crate::layer::table::Damage;
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
    #[error("reading {}: {problem}", path.display())]
    Damage { path: PathBuf, problem: Damage },
    #[error("{} does not have the {expected} bytes that its entry table says", path.display())]
    DataLength { path: PathBuf, expected: u64 },
    #[error(transparent)]
    Merge(#[from] crate::tree::Error),
    #[error("the image is over the 16 TiB that EROFS can hold")]
    TooLarge,
    #[error("writing the image's metadata: {0}")]
    Write(#[source] io::Error),
}

impl Error {
    /// Whether a layer's files are not what they were when they were written.
    pub fn is_damage(&self) -> bool {
        matches!(self, Error::Read { .. } | Error::Damage { .. } | Error::DataLength { .. })
    }
}
