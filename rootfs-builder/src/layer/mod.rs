//! One image layer: from a tar stream to a data file and an entry table.
//!
//! The *data file* holds the bytes of the layer's files in 4 KiB blocks, so that it can be one part of an
//! image's disk; small files are in it as finished inodes. The *entry table* holds everything else that
//! merging needs. A layer is read once and never unpacked.

mod build;
mod data;
mod dropped;
pub mod name;
mod small;
pub mod table;
pub mod tar;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

/// What a layer may demand of its reader. Beyond a limit the layer is refused, and the message says so.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Entries in the layer.
    pub entries: u64,
    /// Bytes of the entry table. Merging holds one in memory.
    pub table_bytes: u64,
    /// Bytes of the layer's data file, holes included.
    pub data_bytes: u64,
    /// Bytes that all holes of the layer's sparse files may have together.
    pub hole_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { entries: 4 << 20, table_bytes: 512 << 20, data_bytes: 256 << 30, hole_bytes: 16 << 30 }
    }
}

/// What was made of one layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerSummary {
    /// Length of the data file, a multiple of 4096.
    pub data_bytes: u64,
    /// Entries written to the entry table.
    pub entries: u64,
    /// XXH3-128 of the data file, in canonical (big-endian) order.
    pub data_digest: [u8; 16],
    /// What was left out, one line each.
    pub warnings: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading the layer's tar stream: {0}")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Tar(tar::Error),
    #[error("tar entry `{name}`: {problem}")]
    Name { name: String, problem: name::NameError },
    #[error("tar entry `{0}`: the root can only be a directory")]
    Root(String),
    #[error("tar entry `{name}`: its extended attributes have {bytes} bytes, over the limit of {limit}")]
    Xattrs { name: String, bytes: usize, limit: usize },
    #[error("tar entry `{name}`: its link target is empty or has more than {} bytes", name::MAX_PATH)]
    LinkTarget { name: String },
    #[error("tar entry `{name}`: the layer's sparse files have over {limit} bytes of holes, the limit")]
    Holes { name: String, limit: u64 },
    #[error("the layer has over {limit} entries, the limit")]
    TooManyEntries { limit: u64 },
    #[error("the layer has over {limit} bytes of names and attributes, the limit")]
    TableTooLarge { limit: u64 },
    #[error("the layer has over {limit} bytes of data, the limit")]
    TooLarge { limit: u64 },
    #[error("writing the layer's {what}: {source}")]
    Write { what: &'static str, source: io::Error },
}

impl From<tar::Error> for Error {
    fn from(error: tar::Error) -> Error {
        match error {
            tar::Error::Read(error) => Error::Read(error),
            error => Error::Tar(error),
        }
    }
}

/// Seconds and nanoseconds since the epoch; nanoseconds always count forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// What every inode has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits, setuid, setgid and sticky.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    Directory,
    File,
    Symlink,
    CharacterDevice,
    BlockDevice,
    Fifo,
}

impl FileType {
    /// The bits of `st_mode` that tell the type.
    pub fn mode_bits(self) -> u16 {
        match self {
            FileType::Directory => 0o040000,
            FileType::File => 0o100000,
            FileType::Symlink => 0o120000,
            FileType::CharacterDevice => 0o020000,
            FileType::BlockDevice => 0o060000,
            FileType::Fifo => 0o010000,
        }
    }
}

/// Reads an uncompressed tar stream to its very end and writes the layer's `data` and `entries`, both
/// empty files open for reading and writing.
pub fn build(tar: impl Read, data: File, entries: File, limits: &Limits) -> Result<LayerSummary, Error> {
    build_buffered(BufReader::with_capacity(256 << 10, tar), data, entries, limits)
}

/// As [`build`], for a reader with a buffer of its own: one copy of every byte less.
pub fn build_buffered(
    tar: impl BufRead,
    data: File,
    entries: File,
    limits: &Limits,
) -> Result<LayerSummary, Error> {
    build::Builder::new(tar, data, entries, limits)?.run()
}
