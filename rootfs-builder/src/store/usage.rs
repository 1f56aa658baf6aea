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
use super::session::lock;
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
    /// Whether it is needed, by a machine that is made of it, or held.
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

impl KindUsage {
    fn add(&mut self, size: u64, active: bool) {
        self.count += 1;
        self.size += size;
        match active {
            true => self.active += 1,
            false => self.reclaimable += size,
        }
    }
}

type Object = (Kind, Digest);

/// Who needs something.
#[derive(Default)]
struct Need {
    /// Indexes of images.
    images: Vec<usize>,
    /// One of them is in use, or it is another tool's, whose things stay.
    active: bool,
}

impl Store {
    /// Adds up the store's files. Images that are `needed` are in use, held or not. Others may be adding and removing
    /// meanwhile: then it is an estimate.
    pub fn usage(&self, needed: &dyn Fn(&ImageId) -> bool) -> Result<Usage> {
        let objects = self.objects()?;
        let mut images = self.images_by_id(needed)?;
        let needs = self.needs(&images)?;
        let mut usage = Usage { unfinished: allocated(&self.root.join("tmp"))?, ..Usage::default() };
        for (&(kind, digest), &size) in &objects {
            let nobody = Need::default();
            let need = needs.get(&(kind, digest)).unwrap_or(&nobody);
            usage.kinds.entry(kind).or_default().add(size, need.active);
            for &index in &need.images {
                images[index].size += size;
                images[index].shared += if need.images.len() > 1 { size } else { 0 };
            }
            if matches!(kind, Kind::LayerData | Kind::EntryTable) {
                let layer = usage.layers.entry(digest).or_default();
                layer.images = need.images.len();
                *(if kind == Kind::LayerData { &mut layer.data } else { &mut layer.entries }) += size;
            }
        }
        usage.images = images;
        Ok(usage)
    }

    fn images_by_id(&self, needed: &dyn Fn(&ImageId) -> bool) -> Result<Vec<ImageUsage>> {
        let mut images: Vec<ImageUsage> = Vec::new();
        let mut indexes: HashMap<ImageId, usize> = HashMap::new();
        // Whoever removes images looks at the same locks, and does so under this one.
        let _lock = lock(&self.lock_path("names"))?;
        for ImageSummary { reference, id, created, .. } in self.images()? {
            let index = *indexes.entry(id).or_insert_with(|| {
                let in_use = needed(&id) || in_use(&self.image_directory(&id));
                images.push(ImageUsage { id, names: Vec::new(), created, in_use, size: 0, shared: 0 });
                images.len() - 1
            });
            images[index].names.extend(reference);
        }
        images.iter_mut().for_each(|image| image.names.sort());
        Ok(images)
    }

    fn needs(&self, images: &[ImageUsage]) -> Result<HashMap<Object, Need>> {
        let mut blobs: HashMap<ImageId, HashSet<Digest>> = HashMap::new();
        let mut foreign = HashSet::new();
        for (entry, named) in Names::read(self)?.pairs(self) {
            let blobs = named.map_or(&mut foreign, |named| blobs.entry(named.id).or_default());
            mark(self, entry, blobs);
        }
        let mut needs: HashMap<Object, Need> = HashMap::new();
        for (index, image) in images.iter().enumerate() {
            let mut objects = HashSet::from([(Kind::Metadata, image.id.0)]);
            if let Ok(record) = self.image_record(&image.id) {
                for diff_id in record.diff_ids() {
                    objects.extend([(Kind::LayerData, diff_id), (Kind::EntryTable, diff_id)]);
                }
            }
            objects.extend(blobs.remove(&image.id).into_iter().flatten().map(|blob| (Kind::Blob, blob)));
            for object in objects {
                let need = needs.entry(object).or_default();
                need.images.push(index);
                need.active |= image.in_use;
            }
        }
        for blob in foreign {
            needs.entry((Kind::Blob, blob)).or_default().active = true;
        }
        Ok(needs)
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
