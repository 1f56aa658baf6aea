use std::io;
use std::path::{Path, PathBuf};

use crate::digest::{self, Digest};
use crate::image::ImageId;
use crate::reference::Reference;
use crate::{archive, erofs, ext4, instruction, layer, reference};

pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in the store. Each message is one line: what, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no space left on the file system of {}; the store is intact, so free some and repeat", .0.display())]
    Full(PathBuf),
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("reading {what}: {source}")]
    Input { what: String, source: io::Error },
    /// What a registry's client has to say.
    #[error(transparent)]
    Remote(Box<dyn std::error::Error + Send + Sync>),
    #[error("{what} is not in the store: its blob {blob} was removed; pull the image again")]
    MissingBlob { what: String, blob: Digest },
    #[error(transparent)]
    Archive(#[from] archive::Error),
    #[error(transparent)]
    Reference(#[from] reference::Error),
    #[error(transparent)]
    Instruction(instruction::Error),
    #[error(transparent)]
    Digest(#[from] digest::Error),
    #[error("{what} is damaged: its content has the digest {actual} instead of {expected}")]
    BlobDigest { what: String, expected: Digest, actual: Digest },
    #[error("{what} is {}: {actual} bytes instead of {expected}", if actual < expected { "cut short" } else { "too long" })]
    BlobSize { what: String, expected: u64, actual: u64 },
    #[error("{what} does not match its diff ID: its files hash to {actual} instead of {expected}")]
    DiffId { what: String, expected: Digest, actual: Digest },
    #[error("{what} cannot be unpacked ({compression}): {source}")]
    Compression { what: String, compression: &'static str, source: io::Error },
    #[error("{what} is refused: it unpacks to more than {limit} bytes, the limit for one layer")]
    TooLarge { what: String, limit: u64 },
    #[error("the archive is refused: its layers unpack to more than {limit} bytes together, the limit")]
    ArchiveTooLarge { limit: u64 },
    #[error("{what}: {source}")]
    Layer { what: String, source: layer::Error },
    #[error("image {} cannot be an ext4: {source}{}", image.short(), if source.is_damage() { "; `vmrun fsck` repairs it" } else { "" })]
    Ext4 { image: ImageId, source: ext4::Error },
    #[error("{what} is empty")]
    Empty { what: String },
    #[error("merging the layers of image {}: {source}{}", image.short(), if source.is_damage() { "; `vmrun fsck` repairs it" } else { "" })]
    Metadata { image: ImageId, source: erofs::Error },
    #[error("{} images were found, so --name cannot say which is meant; load without it", .0)]
    SeveralImages(usize),
    #[error("‘{0}’ has a digest, which an image has anyway; give it a name with a tag")]
    DigestInName(Reference),
    #[error("writing the file: {0}")]
    Output(#[source] io::Error),
    #[error(
        "layer {} is {media_type}, which OCI images do not have and other tools do not read; \
         `vmrun save --format docker` and `vmrun load` make it one that they do",
        blob.short()
    )]
    NoMediaType { blob: Digest, media_type: String },
    #[error("no such image: {0}")]
    NotFound(String),
    #[error("‘{0}’ is the beginning of several image ids; give more digits")]
    Ambiguous(String),
    #[error("{name} is in use by a machine; stop it, or remove it, first")]
    InUse { name: String },
    #[error("image {} has several names ({names}); remove them one by one, or force it", id.short())]
    SeveralNames { id: ImageId, names: String },
    #[error("{} is damaged ({reason}); `vmrun fsck` repairs it, or says what to pull again", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("{} was made by a newer vmrun (its store has version {found}, this one knows {known})", path.display())]
    NewerStore { path: PathBuf, found: String, known: &'static str },
}

impl Error {
    /// Whether the same may succeed later: a registry or the way to it failed.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Error::Remote(_) | Error::Input { .. })
    }

    /// Whether the disk is full, wherever that was noticed.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Error::Full(_))
    }
}

/// Looks for a full disk among the causes.
pub fn disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(is_full)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Says what was being done to which file of the store.
pub trait At<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| match is_full(&source) {
            true => Error::Full(path.parent().unwrap_or(path).to_path_buf()),
            false => Error::Io { doing, path: path.to_path_buf(), source },
        })
    }
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T> {
        self.map_err(io::Error::from).at(doing, path)
    }
}
