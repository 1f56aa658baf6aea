//! The layers of the store, by diff ID, and which blobs are known to unpack to them.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::error::{At, Error, Result};
use super::ingest::{BuiltLayer, Ingested, IngestedLayer, Request, ingest};
use super::session::{Session, lock};
use super::{Store, blobs, durable};
use crate::archive::FoundLayer;
use crate::compression::{Compression, sniff};
use crate::digest::Digest;
use crate::erofs::LayerFiles;
use crate::parallel;
use crate::progress::{LayerName, LayerOutcome, Progress};

/// What is in a layer's directory.
pub const FILES: [&str; 2] = ["data", "entries"];

/// A layer as an image names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub blob: Digest,
    pub size: u64,
    pub diff_id: Digest,
}

/// A layer's files in the store.
pub struct LayerPaths {
    data: PathBuf,
    /// Bytes of the data file.
    length: u64,
    entries: PathBuf,
}

impl LayerPaths {
    pub fn files(&self) -> LayerFiles<'_> {
        LayerFiles { data: &self.data, data_length: self.length, entries: &self.entries }
    }
}

impl Store {
    pub(super) fn layer_directory(&self, diff_id: &Digest) -> PathBuf {
        self.root.join("layers/sha256").join(diff_id.hex())
    }

    pub(super) fn has_layer(&self, diff_id: &Digest) -> bool {
        let directory = self.layer_directory(diff_id);
        FILES.iter().all(|file| directory.join(file).exists())
    }

    /// A link from a blob's digest to the layer that it was seen to unpack to.
    pub(super) fn pairing_path(&self, blob: &Digest) -> PathBuf {
        self.root.join("layers/blobs").join(blob.hex())
    }

    /// The diff ID of a blob of that size that was unpacked before and that the store still has, with its layer.
    pub(super) fn known_diff_id(&self, blob: &Digest, size: u64) -> Option<Digest> {
        let target = fs::read_link(self.pairing_path(blob)).ok()?;
        let diff_id = Digest::from_hex(target.file_name()?.to_str()?).ok()?;
        (self.has_layer(&diff_id) && blobs::has(self, blob, size)).then_some(diff_id)
    }

    /// Where layers are whose data files have these lengths in bytes.
    pub(super) fn layer_paths(&self, layers: impl Iterator<Item = (Digest, u64)>) -> Vec<LayerPaths> {
        let paths = |(diff_id, length): (Digest, u64)| {
            let directory = self.layer_directory(&diff_id);
            LayerPaths { data: directory.join("data"), length, entries: directory.join("entries") }
        };
        layers.map(paths).collect()
    }

    pub(super) fn data_length(&self, diff_id: &Digest) -> Result<u64> {
        let data = self.layer_directory(diff_id).join("data");
        Ok(fs::metadata(&data).at("reading", &data)?.len())
    }
}

/// Sees to it that a layer and its blob are in the store. `open` gives the blob's bytes and is not called when
/// there is nothing to read. Returns the layer's warnings.
pub fn ensure<'s>(
    session: &Session,
    wanted: &Wanted,
    name: &LayerName,
    progress: &dyn Progress,
    open: &mut dyn FnMut() -> Result<Box<dyn std::io::Read + 's>>,
) -> Result<Vec<String>> {
    let store = session.store;
    let limit = store.limits.layer_bytes;
    if wanted.size > limit {
        // Compressed it is larger than it may be at all: not even begun.
        return Err(Error::TooLarge { what: format!("layer {}", wanted.blob.short()), limit });
    }
    progress.layer_started(name, Some(wanted.size));
    let _lock = lock(&store.lock_path(&format!("layer-{}", wanted.diff_id.hex())))?;
    let what = format!("layer {}", wanted.blob.short());
    if let Some(known) = store.known_diff_id(&wanted.blob, wanted.size) {
        let outcome = match known == wanted.diff_id {
            true => LayerOutcome::AlreadyHere,
            false => LayerOutcome::Failed,
        };
        progress.layer_finished(name, outcome);
        return check_diff_id(&what, wanted.diff_id, known).map(|()| Vec::new());
    }

    let request = Request {
        what: &what,
        expected: Some((wanted.blob, wanted.size)),
        keep_blob: !blobs::has(store, &wanted.blob, wanted.size),
        compress: false,
        build_layer: !store.has_layer(&wanted.diff_id),
        blob_matters: true,
        name,
        progress,
    };
    let result = open().and_then(|mut source| {
        let ingested = ingest(session, &mut *source, &request)?;
        add(session, ingested, Some(wanted.diff_id), &what).map(|added| added.warnings)
    });
    let outcome = if result.is_ok() { LayerOutcome::Built } else { LayerOutcome::Failed };
    progress.layer_finished(name, outcome);
    result
}

/// Layers read at once, at most. Each takes about one and a half processors and 4 MiB of buffers.
const MOST_AT_ONCE: usize = 6;

/// Sees to it that all layers of an image are in the store, several at once. `open` gives the bytes of those that
/// are not. Returns the layers' warnings, lowest first.
pub fn ensure_all<'s>(
    session: &Session,
    layers: &[FoundLayer],
    workers: usize,
    progress: &dyn Progress,
    open: &(dyn Fn(&FoundLayer) -> Result<Box<dyn std::io::Read + 's>> + Sync),
) -> Result<Vec<String>> {
    let warnings = parallel::for_each(layers, workers.min(MOST_AT_ONCE), |index, layer| {
        let wanted = Wanted { blob: layer.blob, size: layer.size, diff_id: layer.diff_id };
        let name = LayerName { index, label: layer.blob.short() };
        ensure(session, &wanted, &name, progress, &mut || open(layer))
    })?;
    Ok(warnings.concat())
}

pub fn check_diff_id(what: &str, expected: Digest, actual: Digest) -> Result<()> {
    match expected == actual {
        true => Ok(()),
        false => Err(Error::DiffId { what: what.to_owned(), expected, actual }),
    }
}

/// The size that a manifest claims against the one that a blob has.
pub fn check_size(blob: &Digest, expected: u64, actual: u64) -> Result<()> {
    match expected == actual {
        true => Ok(()),
        false => Err(Error::BlobSize { what: format!("layer {}", blob.short()), expected, actual }),
    }
}

/// A layer that is in the store now.
#[derive(Clone, Debug)]
pub struct Added {
    pub blob: Digest,
    pub size: u64,
    pub compression: Compression,
    pub diff_id: Digest,
    pub warnings: Vec<String>,
}

impl Added {
    /// A blob that the store has, with its layer.
    pub fn known(store: &Store, blob: Digest, size: u64, diff_id: Digest) -> Result<Added> {
        let path = blobs::path(store, &blob);
        let (compression, _) = File::open(&path).and_then(sniff).at("reading", &path)?;
        Ok(Added { blob, size, compression, diff_id, warnings: Vec::new() })
    }
}

/// Puts a layer's drafts in their places.
pub fn add(session: &Session, ingested: Ingested, expected: Option<Digest>, what: &str) -> Result<Added> {
    let store = session.store;
    let Ingested { blob, size, draft, layer, .. } = ingested;
    let IngestedLayer { compression, diff_id, built } = layer?;
    if let Some(expected) = expected {
        check_diff_id(what, expected, diff_id)?;
    }
    let mut warnings = Vec::new();
    if let Some(BuiltLayer { draft, summary }) = built {
        let place = store.layer_directory(&diff_id);
        // Somebody else may have added it; or half of it was here.
        if !durable::install(&draft, &place)? && !store.has_layer(&diff_id) {
            durable::replace_files(&draft, &place, &FILES)?;
        }
        warnings = summary.warnings;
    }
    if let Some(draft) = draft {
        // If there is one, it is the same, or damaged.
        let place = blobs::path(store, &blob);
        fs::rename(&draft, &place).at("creating", &place)?;
    }
    // Only spares a later load the unpacking, so it need not be synced; a wrong one cannot come to be.
    let pairing = store.pairing_path(&blob);
    let _ = fs::remove_file(&pairing);
    let _ = symlink(Path::new("../sha256").join(diff_id.hex()), pairing);
    Ok(Added { blob, size, compression, diff_id, warnings })
}
