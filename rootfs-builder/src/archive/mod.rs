//! Where images come from as files: an OCI image layout in a directory, and archives that hold one or hold what
//! `docker save` wrote.
//!
//! Readers here know nothing of the store. They find out which images there are ([`FoundImage`]) and hand over
//! the bytes of layers as a stream.

mod docker;
mod documents;
mod index;
mod layout;
mod names;
mod stream;

use std::io;
use std::path::PathBuf;

use crate::digest::{self, Digest};
use crate::layer::tar;
use crate::reference::Reference;

pub use docker::{DockerImage, docker_images};
pub use documents::{CheckedConfig, Documents, check_config, platform_of, read_config};
pub use index::{find_image, find_images};
pub use layout::{Layout, check_version as check_layout_version};
pub use names::{CONTAINERD_NAME, REF_NAME};
pub use stream::{Contents, blob_path, read};

/// What an archive may hold. Beyond a limit it is refused, and the message says so.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of an index, a manifest or a configuration. The OCI distribution specification asks registries for
    /// 4 MiB.
    pub document_bytes: u64,
    /// Bytes of all documents of one archive, layout or pull together, each counted as often as it is read; and with
    /// them the names of an archive's entries.
    pub all_documents_bytes: u64,
    /// Documents that are read to find the images of an archive or a layout, and names that these have.
    pub documents: usize,
    /// Layers of one image.
    pub layers: usize,
    /// Entries of an archive's tar.
    pub archive_entries: usize,
    /// Bytes of an archive, uncompressed; and again of all that its layers unpack to.
    pub archive_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            document_bytes: 4 << 20,
            all_documents_bytes: 32 << 20,
            documents: 16_384,
            layers: 4096,
            archive_entries: 65_536,
            archive_bytes: 1 << 40,
        }
    }
}

/// An image whose documents have been read and checked.
#[derive(Clone, Debug)]
pub struct FoundImage {
    /// What it is called where it was found.
    pub names: Vec<Reference>,
    pub manifest: Vec<u8>,
    pub manifest_media_type: String,
    pub config: Vec<u8>,
    /// Lowest first.
    pub layers: Vec<FoundLayer>,
    /// One line each.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLayer {
    pub blob: Digest,
    /// Bytes of the blob.
    pub size: u64,
    pub diff_id: Digest,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the archive cannot be read: {0}")]
    Read(#[source] io::Error),
    #[error("the archive cannot be read: {0}")]
    Tar(#[source] tar::Error),
    #[error("the archive is empty")]
    Empty,
    #[error(
        "this is neither an OCI image layout nor a docker archive; a root file system is taken by `vmrun import`"
    )]
    NotAnImage,
    #[error("{} is no OCI image layout: it has no {missing}", path.display())]
    NotALayout { path: PathBuf, missing: &'static str },
    #[error("the image layout has version ‘{0}’, but only 1.x is supported")]
    LayoutVersion(String),
    #[error("{what} is larger than {limit} bytes, the limit for such a document")]
    DocumentTooLarge { what: String, limit: u64 },
    #[error("documents and the names of files are larger than {limit} bytes together, the limit")]
    DocumentsTooLarge { limit: u64 },
    #[error("the archive has more than {limit} entries, the limit")]
    TooManyEntries { limit: usize },
    #[error("{what} cannot be understood: {reason}")]
    Malformed { what: String, reason: String },
    #[error("{what} is missing")]
    Missing { what: String },
    #[error("{what} is damaged: it has {actual} bytes instead of {expected}")]
    Size { what: String, expected: u64, actual: u64 },
    #[error("{what} is damaged: its content has the digest {actual} instead of {expected}")]
    Digest { what: String, expected: Digest, actual: Digest },
    #[error("{what}: {source}")]
    DigestForm { what: String, source: digest::Error },
    #[error("the index holds no image")]
    NoImage,
    #[error("there is no image for {wanted}, only for {others}")]
    OtherPlatforms { wanted: String, others: String },
    #[error("the image is for {is}, not for {wanted}")]
    OtherPlatform { is: String, wanted: String },
    #[error("indexes are nested more than {0} deep")]
    TooDeep(usize),
    #[error("{what} is no container image but ‘{kind}’")]
    NotAContainer { what: String, kind: String },
    #[error("layer {0} is encrypted, which is not supported")]
    Encrypted(String),
    #[error("{what} names {layers} layers, but its configuration has {diff_ids} diff IDs")]
    LayerCount { what: String, layers: usize, diff_ids: usize },
    #[error("more than {limit} documents would have to be read, the limit")]
    TooManyDocuments { limit: usize },
    #[error("more than {limit} names are given to images, the limit")]
    TooManyNames { limit: usize },
    /// What a registry's client has to say.
    #[error(transparent)]
    Remote(Box<dyn std::error::Error + Send + Sync>),
    #[error("{what} has {layers} layers, more than {limit}, the limit")]
    TooManyLayers { what: String, layers: usize, limit: usize },
}

impl From<tar::Error> for Error {
    fn from(error: tar::Error) -> Error {
        match error {
            tar::Error::Read(error) => Error::Read(error),
            tar::Error::NoTar => Error::NotAnImage,
            error => Error::Tar(error),
        }
    }
}

/// Text from an untrusted document, fit for one line of a message.
fn shown(text: &str) -> String {
    text.chars().take(120).flat_map(char::escape_debug).collect()
}
