//! Images in the store: what a run needs to know of them, and nothing that takes time to find out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::error::{At, Error, Result};
use super::layers::LayerPaths;
use super::names::{Named, Names};
use super::session::Session;
use super::{Store, durable};
use crate::archive::{CheckedConfig, platform_of};
use crate::digest::Digest;
use crate::erofs::{self, LayerFiles};
use crate::image::{ImageConfig, ImageId, Platform, parse_time};
use crate::reference::Reference;

const RECORD_VERSION: u32 = 1;

/// `images/sha256/<id>/image.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// As the configuration has it.
    created: Option<String>,
    /// Records of before there were others have none.
    #[serde(default)]
    platform: Platform,
    config: ImageConfig,
    /// Bytes of the metadata file.
    metadata_length: u64,
    /// Lowest first.
    layers: Vec<RecordLayer>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RecordLayer {
    diff_id: Digest,
    /// Bytes of the data file.
    length: u64,
}

impl Record {
    fn disk_length(&self) -> u64 {
        self.metadata_length + self.layers.iter().map(|layer| layer.length).sum::<u64>()
    }

    pub(super) fn platform(&self) -> &Platform {
        &self.platform
    }

    pub(super) fn diff_ids(&self) -> impl Iterator<Item = Digest> {
        self.layers.iter().map(|layer| layer.diff_id)
    }
}

/// An image that is ready to run. As long as this value lives, the image cannot be removed.
#[derive(Debug)]
pub struct Image {
    id: ImageId,
    manifest: Digest,
    name: Option<Reference>,
    record: Record,
    /// Where its own files are.
    pub(super) directory: PathBuf,
    pub(super) layers_directory: PathBuf,
    _lease: File,
}

/// A line of `vmrun images`: an image under one of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    /// None for an image that lost its name to a newer one, or never had any.
    pub reference: Option<Reference>,
    pub id: ImageId,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// What its name stood for in the registry that it was pulled from: the manifest, or an index.
    pub pulled: Option<Digest>,
    pub created: Option<SystemTime>,
    pub labels: BTreeMap<String, String>,
    /// Bytes of its disk. Images share what they have in common, so the sum over all is less.
    pub size: u64,
}

impl ImageSummary {
    /// The digest by which others know it under this name.
    pub fn digest(&self) -> Digest {
        self.pulled.unwrap_or(self.manifest)
    }
}

impl Image {
    pub fn id(&self) -> ImageId {
        self.id
    }

    /// The name by which it was found; none if that was its id.
    pub fn name(&self) -> Option<&Reference> {
        self.name.as_ref()
    }

    /// The digest of its manifest: of the one that was found, if it came with several.
    pub fn manifest(&self) -> Digest {
        self.manifest
    }

    pub fn config(&self) -> &ImageConfig {
        &self.record.config
    }

    /// What it is made for; only images for [`Platform::default`] can run.
    pub fn platform(&self) -> &Platform {
        &self.record.platform
    }

    pub fn created(&self) -> Option<SystemTime> {
        self.record.created.as_deref().and_then(parse_time)
    }

    /// Bytes of its metadata file, all that is its own.
    pub fn metadata_length(&self) -> u64 {
        self.record.metadata_length
    }

    /// Diff IDs and bytes of data files, lowest first.
    pub fn layers(&self) -> impl Iterator<Item = (Digest, u64)> {
        self.record.layers.iter().map(|layer| (layer.diff_id, layer.length))
    }
}

impl Store {
    pub(super) fn image_directory(&self, id: &ImageId) -> PathBuf {
        self.root.join("images/sha256").join(id.0.hex())
    }

    pub(super) fn image_record(&self, id: &ImageId) -> Result<Record> {
        let path = self.image_directory(id).join("image.json");
        let bytes = fs::read(&path).at("reading", &path)?;
        parse_record(&path, &bytes)
    }

    /// Whether an image's own files are here, as far as can be seen without reading them.
    pub(super) fn has_image(&self, id: &ImageId) -> bool {
        let length = fs::metadata(self.image_directory(id).join("metadata")).map(|metadata| metadata.len());
        self.image_record(id).is_ok_and(|record| length.is_ok_and(|length| length == record.metadata_length))
    }

    /// The images, newest first, each as often as it has names.
    pub fn images(&self) -> Result<Vec<ImageSummary>> {
        let mut summaries = Vec::new();
        for Named { reference, id, manifest, pulled } in Names::read(self)?.all(self) {
            let record = match self.image_record(&id) {
                // Somebody removed it just now.
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
                record => record?,
            };
            let created = record.created.as_deref().and_then(parse_time);
            let size = record.disk_length();
            let labels = record.config.labels;
            summaries.push(ImageSummary { reference, id, manifest, pulled, created, labels, size });
        }
        summaries.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.reference.cmp(&b.reference)));
        Ok(summaries)
    }

    /// Finds an image by name (the same as Docker would find: `busybox` is `docker.io/library/busybox:latest`),
    /// by id or by the beginning of an id.
    pub fn resolve(&self, name: &str) -> Result<Image> {
        let images = Names::read(self)?.all(self);
        let (found, by) = find(&images, name)?;
        let Named { id, manifest, .. } = *found;
        let called = found.reference.clone().filter(|_| by == By::Name);
        let directory = self.image_directory(&id);
        let path = directory.join("image.json");
        let gone = || Error::NotFound(name.to_owned());
        let mut lease = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(gone()),
            file => file.at("opening", &path)?,
        };
        lease.lock_shared().at("locking", &path)?;
        // Removed between the look and the lock.
        if lease.metadata().at("reading", &path)?.nlink() == 0 {
            return Err(gone());
        }
        let mut bytes = Vec::new();
        lease.read_to_end(&mut bytes).at("reading", &path)?;
        let record = parse_record(&path, &bytes)?;
        let layers_directory = self.root.join("layers/sha256");
        Ok(Image { id, manifest, name: called, record, directory, layers_directory, _lease: lease })
    }
}

fn parse_record(path: &std::path::Path, bytes: &[u8]) -> Result<Record> {
    let damaged = |reason: String| Error::Damaged { path: path.to_path_buf(), reason };
    let record: Record = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    match record.version {
        RECORD_VERSION => Ok(record),
        other => Err(damaged(format!("its version is {other}, not {RECORD_VERSION}"))),
    }
}

/// What an image was found by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Name,
    Id,
}

/// The order is Docker's: a whole id, then a name, then the beginning of an id.
pub(super) fn find<'a>(images: &'a [Named], wanted: &str) -> Result<(&'a Named, By)> {
    let hex = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    if let Ok(digest) = Digest::from_hex(hex) {
        let found = images.iter().find(|image| image.id.0 == digest);
        return found.map(|found| (found, By::Id)).ok_or_else(|| Error::NotFound(wanted.to_owned()));
    }
    let reference = wanted.parse::<Reference>();
    if let Ok(reference) = &reference
        && let Some(found) = images
            .iter()
            .find(|image| image.reference.as_ref() == Some(reference))
            .or_else(|| images.iter().find(|image| is_called(image, reference)))
    {
        return Ok((found, By::Name));
    }
    let is_hex = hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let starts = |image: &&Named| is_hex && !hex.is_empty() && image.id.0.hex().starts_with(hex);
    let mut matching = images.iter().filter(starts);
    match matching.next() {
        Some(found) if matching.any(|other| other.id != found.id) => Err(Error::Ambiguous(wanted.to_owned())),
        Some(found) => Ok((found, By::Id)),
        // Not a name at all: say what is wrong with it.
        None => Err(reference.err().map_or_else(|| Error::NotFound(wanted.to_owned()), Error::Reference)),
    }
}

/// A digest in a name is that of the manifest, or of the index that it was pulled by, and then the tag does not
/// matter.
fn is_called(image: &Named, wanted: &Reference) -> bool {
    let Some(reference) = &image.reference else {
        return false;
    };
    let same_repository =
        (reference.registry(), reference.repository()) == (wanted.registry(), wanted.repository());
    match wanted.digest() {
        Some(digest) => same_repository && (*digest == image.manifest || Some(*digest) == image.pulled),
        None => same_repository && reference.tag() == wanted.tag(),
    }
}

/// Builds the disk of an image whose layers are in the store: its metadata, which is all that is its own. One that is
/// here and visibly damaged is replaced.
pub(super) fn build(session: &Session, id: ImageId, checked: &CheckedConfig) -> Result<()> {
    if session.store.has_image(&id) {
        return Ok(());
    }
    let draft = build_draft(session, id, &checked.config, &checked.diff_ids)?;
    let place = session.store.image_directory(&id);
    // A whole one is left as it is: machines hold its `image.json`.
    match durable::install(&draft, &place)? || session.store.has_image(&id) {
        true => Ok(()),
        false => durable::replace_files(&draft, &place, &["metadata", "image.json"]),
    }
}

/// As [`build`], but leaves the image's directory as a draft, synced.
pub(super) fn build_draft(
    session: &Session,
    id: ImageId,
    config: &oci_spec::image::ImageConfiguration,
    diff_ids: &[Digest],
) -> Result<PathBuf> {
    let store = session.store;
    let mut layers = Vec::new();
    for diff_id in diff_ids {
        layers.push(RecordLayer { diff_id: *diff_id, length: store.data_length(diff_id)? });
    }
    let paths = store.layer_paths(layers.iter().map(|layer| (layer.diff_id, layer.length)));
    let files: Vec<LayerFiles> = paths.iter().map(LayerPaths::files).collect();

    let draft = session.draft("image");
    fs::create_dir(&draft).at("creating", &draft)?;
    let path = draft.join("metadata");
    let metadata = durable::create(&path)?;
    let writer = metadata.try_clone().at("opening", &path)?;
    let summary =
        erofs::write_metadata(&files, writer).map_err(|source| match super::error::disk_full(&source) {
            true => Error::Full(store.root.clone()),
            false => Error::Metadata { image: id, source },
        })?;
    metadata.sync_data().at("syncing", &path)?;

    let record = Record {
        version: RECORD_VERSION,
        created: config.created().clone(),
        platform: platform_of(config),
        config: config.config().as_ref().map(ImageConfig::from).unwrap_or_default(),
        metadata_length: summary.length,
        layers,
    };
    let path = draft.join("image.json");
    let mut file = durable::create(&path)?;
    let bytes = serde_json::to_vec(&record).map_err(io::Error::from).at("writing", &path)?;
    file.write_all(&bytes).and_then(|()| file.sync_data()).at("writing", &path)?;
    durable::sync_directory(&draft)?;
    Ok(draft)
}
