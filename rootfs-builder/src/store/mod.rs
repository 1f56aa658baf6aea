//! The image store: a directory with images, their layers and the disks made of them.
//!
//! ```text
//! oci/                          a plain OCI image layout; skopeo and umoci can read it
//!   index.json                  the images' names: annotation org.opencontainers.image.ref.name, in full
//!   blobs/sha256/<digest>       manifests, configurations, layers as they came
//! layers/sha256/<diff ID>/      data, entries: see the module `layer`; the second has the digests of both
//! layers/blobs/<digest>         a link from a blob to the layer that it was seen to unpack to
//! images/sha256/<image id>/     metadata: the EROFS part of its own; image.json: what a run has to know; ext4: as
//!                               metadata, once a kernel without EROFS wanted it
//! locks/  tmp/                  see the module `session`
//! ```
//!
//! Everything appears whole or not at all: it is written under `tmp/`, synced (`fdatasync` of every file that
//! was written, `fsync` of the directories that got a new entry) and renamed into place, layers and blobs before
//! the image, the image before its name. A process that is killed at any moment leaves a store in which every
//! image that has a name is whole; what it left unfinished is removed later.

mod blobs;
mod collect;
mod commit;
mod content;
mod disk;
mod durable;
mod error;
mod files;
mod fsck;
mod history;
mod images;
mod import;
mod ingest;
mod layers;
mod load;
mod load_archive;
mod manifest;
mod names;
mod pipe;
mod prune;
pub mod pull;
pub mod push;
mod recompress;
mod remove;
mod save;
mod session;
mod tag;
mod usage;

use std::fs;
use std::path::{Path, PathBuf};

use crate::{archive, layer};

pub use commit::{Commit, PreparedCommit};
pub use content::{Content, ContentLayer, Document};
pub use disk::{Disk, DiskFormat, DiskPart};
pub use error::{Error, Result};
pub use files::{ImageFile, ImageFiles};
pub use fsck::{Finding, FsckReport, Remedy};
pub use history::{HistoryEntry, HistoryLayer};
pub use images::{Image, ImageSummary};
pub use import::ImportConfig;
pub use load::{LoadSource, Loaded};
pub use prune::Pruned;
pub use pull::{Pulled, Remote};
pub use push::Outgoing;
pub use remove::Removed;
pub use save::ArchiveFormat;
pub use usage::{ImageUsage, Kind, KindUsage, LayerUsage, Usage};

use error::At;

/// What an image may demand of the store. Beyond a limit it is refused, and the message says so.
#[derive(Clone, Debug)]
pub struct Limits {
    pub archive: archive::Limits,
    pub layer: layer::Limits,
    /// Bytes of one layer's tar, uncompressed: what a decompression bomb can make the store write before it is
    /// refused and removed.
    pub layer_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { archive: archive::Limits::default(), layer: layer::Limits::default(), layer_bytes: 64 << 30 }
    }
}

/// A store, open. Any number of processes may have it open at once.
pub struct Store {
    root: PathBuf,
    limits: Limits,
}

const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

impl Store {
    /// Opens the store in a directory, and makes one there if there is none.
    pub fn open(root: &Path) -> Result<Store> {
        Store::with_limits(root, Limits::default())
    }

    pub fn with_limits(root: &Path, limits: Limits) -> Result<Store> {
        let root = std::path::absolute(root).at("opening", root)?;
        // The last of what is made, so that opening an existing store costs one look.
        let marker = root.join("oci/oci-layout");
        if !marker.exists() {
            for directory in
                ["oci/blobs/sha256", "layers/sha256", "layers/blobs", "images/sha256", "locks", "tmp"]
            {
                let path = root.join(directory);
                fs::create_dir_all(&path).at("creating", &path)?;
            }
            session::with_draft(&root.join("tmp"), |draft| durable::replace(&marker, draft, OCI_LAYOUT))?;
        }
        Ok(Store { root, limits })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.root.join("locks").join(name)
    }

    /// Adds something. When that fails, or somebody wanted to remove meanwhile, what nobody refers to is removed. If
    /// it may succeed another time, what came of it is left for that: who succeeds next removes the rest.
    fn adding<T>(&self, add: impl FnOnce(&session::Session) -> Result<T>) -> Result<T> {
        let session = session::Session::begin(self)?;
        let result = names::begin(&session).and_then(|()| add(&session));
        drop(session);
        // The result is what counts; the next removal tries again.
        let _ = match &result {
            Err(error) if error.may_pass() => self.want_collect(),
            Ok(_) if !self.collect_wanted() => Ok(()),
            _ => self.collect().map(|_| ()),
        };
        result
    }
}
