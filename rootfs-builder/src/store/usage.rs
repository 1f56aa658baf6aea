//! `vmrun df`: where the disk went, who shares it, and what could be had back.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use super::Store;
use super::collect::{in_use, mark};
use super::error::{At, Result};
use super::images::ImageSummary;
use super::names::Names;
use crate::digest::Digest;
use crate::image::ImageId;
use crate::reference::Reference;

/// What a store takes on disk. All sizes are bytes that the file system has allocated, in whole blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Newest first.
    pub images: Vec<ImageUsage>,
    /// By diff ID.
    pub layers: BTreeMap<Digest, LayerUsage>,
    pub kinds: BTreeMap<Kind, KindUsage>,
    /// What commands that are under way, or were killed, have not put in its place.
    pub unfinished: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUsage {
    pub id: ImageId,
    /// Sorted; none for an image without names.
    pub names: Vec<Reference>,
    pub created: Option<SystemTime>,
    /// Whether a machine runs on it, or somebody else holds it.
    pub in_use: bool,
    /// Of everything it needs: layers, metadata, blobs.
    pub size: u64,
    /// What of it other images need too.
    pub shared: u64,
}

impl ImageUsage {
    /// What goes when this image alone goes.
    pub fn unique(&self) -> u64 {
        self.size - self.shared
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerUsage {
    pub data: u64,
    pub entries: u64,
    /// Images that have it.
    pub images: usize,
}

/// What something in the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    LayerData,
    EntryTable,
    Metadata,
    Blob,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindUsage {
    pub count: usize,
    /// How many are needed by images in use.
    pub active: usize,
    pub size: u64,
    /// Of those that no image in use needs: what a removal of all other images gives back.
    pub reclaimable: u64,
}

type Object = (Kind, Digest);

#[derive(Default)]
struct Needs {
    images: HashSet<ImageId>,
    active: bool,
}

impl Store {
    /// Adds up the store's files. Others may be adding and removing meanwhile: then it is an estimate.
    pub fn usage(&self) -> Result<Usage> {
        let objects = self.objects()?;
        let mut needs: HashMap<Object, Needs> = HashMap::new();
        let mut images = self.images_by_id()?;
        for image in &mut images {
            let summary = ImageId(image.id.0);
            image.in_use = in_use(&self.image_directory(&summary));
            for object in self.needed_by(&summary)? {
                let need = needs.entry(object).or_default();
                need.images.insert(summary);
                need.active |= image.in_use;
            }
        }
        // What other tools have put there is theirs, and stays.
        for blob in self.foreign_blobs(&needs)? {
            needs.entry((Kind::Blob, blob)).or_default().active = true;
        }

        let mut usage = Usage { unfinished: allocated(&self.root.join("tmp"))?, ..Usage::default() };
        for (object, size) in &objects {
            let need = needs.get(object);
            let active = need.is_some_and(|need| need.active);
            let kind = usage.kinds.entry(object.0).or_default();
            kind.count += 1;
            kind.size += size;
            match active {
                true => kind.active += 1,
                false => kind.reclaimable += size,
            }
            let layer = match object.0 {
                Kind::LayerData => &mut usage.layers.entry(object.1).or_default().data,
                Kind::EntryTable => &mut usage.layers.entry(object.1).or_default().entries,
                _ => continue,
            };
            *layer += size;
            let images = need.map_or(0, |need| need.images.len());
            usage.layers.entry(object.1).or_default().images = images;
        }
        for (object, need) in &needs {
            let size = objects.get(object).copied().unwrap_or_default();
            for image in images.iter_mut().filter(|image| need.images.contains(&image.id)) {
                image.size += size;
                image.shared += if need.images.len() > 1 { size } else { 0 };
            }
        }
        usage.images = images;
        Ok(usage)
    }

    fn images_by_id(&self) -> Result<Vec<ImageUsage>> {
        let mut images: Vec<ImageUsage> = Vec::new();
        for ImageSummary { reference, id, created, .. } in self.images()? {
            match images.iter_mut().find(|image| image.id == id) {
                Some(image) => image.names.extend(reference),
                None => images.push(ImageUsage {
                    id,
                    names: reference.into_iter().collect(),
                    created,
                    in_use: false,
                    size: 0,
                    shared: 0,
                }),
            }
        }
        images.iter_mut().for_each(|image| image.names.sort());
        Ok(images)
    }

    fn needed_by(&self, id: &ImageId) -> Result<Vec<Object>> {
        let mut objects = vec![(Kind::Metadata, id.0)];
        if let Ok(record) = self.image_record(id) {
            for diff_id in record.diff_ids() {
                objects.extend([(Kind::LayerData, diff_id), (Kind::EntryTable, diff_id)]);
            }
        }
        let mut blobs = HashSet::new();
        let names = Names::read(self)?;
        for (entry, named) in names.pairs(self) {
            if named.is_some_and(|named| named.id == *id) {
                mark(self, entry, &mut blobs);
            }
        }
        objects.extend(blobs.into_iter().map(|blob| (Kind::Blob, blob)));
        Ok(objects)
    }

    fn foreign_blobs(&self, needs: &HashMap<Object, Needs>) -> Result<HashSet<Digest>> {
        let mut blobs = HashSet::new();
        for (entry, named) in Names::read(self)?.pairs(self) {
            if named.is_none() {
                mark(self, entry, &mut blobs);
            }
        }
        blobs.retain(|blob| !needs.contains_key(&(Kind::Blob, *blob)));
        Ok(blobs)
    }

    /// Everything in its place, with its size.
    fn objects(&self) -> Result<HashMap<Object, u64>> {
        let mut objects = HashMap::new();
        let layers = self.root.join("layers/sha256");
        for digest in digests(&layers)? {
            let directory = layers.join(digest.hex());
            let size = |name| on_disk(&directory.join(name));
            objects.insert((Kind::LayerData, digest), size("data")?);
            objects.insert((Kind::EntryTable, digest), size("entries")?);
        }
        for (kind, place) in [(Kind::Metadata, "images/sha256"), (Kind::Blob, "oci/blobs/sha256")] {
            let place = self.root.join(place);
            for digest in digests(&place)? {
                objects.insert((kind, digest), allocated(&place.join(digest.hex()))?);
            }
        }
        Ok(objects)
    }

    /// Bytes allocated to images, finished or not.
    pub(super) fn allocated(&self) -> Result<u64> {
        let places = ["layers/sha256", "images/sha256", "oci/blobs", "tmp"];
        places.iter().map(|place| allocated(&self.root.join(place))).sum()
    }
}

/// The entries of a directory that are named by digests.
fn digests(directory: &Path) -> Result<Vec<Digest>> {
    let mut digests = Vec::new();
    for entry in fs::read_dir(directory).at("reading", directory)? {
        let name = entry.at("reading", directory)?.file_name();
        digests.extend(name.to_str().and_then(|name| Digest::from_hex(name).ok()));
    }
    Ok(digests)
}

/// Bytes allocated to a file; none if it is gone.
fn on_disk(path: &Path) -> Result<u64> {
    Ok(look(path)?.map_or(0, |metadata| metadata.blocks() * 512))
}

fn look(path: &Path) -> Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        metadata => metadata.map(Some).at("reading", path),
    }
}

/// Bytes allocated to a file, or to the files of a directory and those below it.
fn allocated(path: &Path) -> Result<u64> {
    match look(path)? {
        None => Ok(0),
        Some(metadata) if !metadata.is_dir() => Ok(metadata.blocks() * 512),
        Some(_) => {
            let mut sum = 0;
            let entries = match fs::read_dir(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
                entries => entries.at("reading", path)?,
            };
            for entry in entries {
                sum += allocated(&entry.at("reading", path)?.path())?;
            }
            Ok(sum)
        }
    }
}
