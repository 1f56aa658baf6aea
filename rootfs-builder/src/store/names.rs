//! `oci/index.json`: which images there are and what they are called.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType, SCHEMA_VERSION};

use super::error::{At, Error, Result};
use super::session::{Session, lock};
use super::{Store, blobs, durable};
use crate::archive::REF_NAME;
use crate::digest::Digest;
use crate::image::ImageId;
use crate::reference::Reference;

/// Spares reading the manifest. Other tools do not write it.
const IMAGE_ID: &str = "dev.vmrun.image.id";
/// The digest that the name stood for where the image was pulled from: the manifest's own, or that of the index
/// it was found in.
const PULLED: &str = "dev.vmrun.pulled.digest";

/// The index as it was read.
pub struct Names {
    path: PathBuf,
    entries: Vec<Descriptor>,
}

/// One entry: an image with a name, or without any.
pub struct Named {
    pub reference: Option<Reference>,
    pub manifest: Digest,
    pub id: ImageId,
    /// What the name stood for in its registry when it was pulled.
    pub pulled: Option<Digest>,
}

impl Names {
    /// Reads the index. It is only ever replaced as a whole, so no lock is needed to read it. One that is missing
    /// though there are images is damage, lest they be taken for nobody's and removed.
    pub fn read(store: &Store) -> Result<Names> {
        let path = index_path(store);
        let mut bytes = read_if_there(&path)?;
        if bytes.is_none() {
            if images_on_disk(store)?.is_empty() {
                return Ok(Names { path, entries: Vec::new() });
            }
            // Somebody may just have added the first image.
            bytes = read_if_there(&path)?;
        }
        let Some(bytes) = bytes else {
            return Err(Error::Damaged { path, reason: "it is missing".into() });
        };
        let index: ImageIndex = serde_json::from_slice(&bytes)
            .map_err(|error| Error::Damaged { path: path.clone(), reason: error.to_string() })?;
        Ok(Names { path, entries: index.manifests().clone() })
    }

    /// Every image of the index that the store has a disk of. Other tools may have added some.
    pub fn all(&self, store: &Store) -> Vec<Named> {
        self.entries.iter().filter_map(|entry| named(store, entry)).collect()
    }

    /// Every entry, and which image of the store it is, if any.
    pub fn pairs<'a>(&'a self, store: &'a Store) -> impl Iterator<Item = (&'a Descriptor, Option<Named>)> {
        self.entries.iter().map(|entry| (entry, named(store, entry)))
    }

    pub fn descriptors(&self) -> &[Descriptor] {
        &self.entries
    }

    /// Gives an image a name, or none if it has one. The image that had the name before keeps its place, without
    /// a name.
    fn add(
        &mut self,
        manifest: Descriptor,
        id: ImageId,
        name: Option<&Reference>,
        pulled: Option<&Digest>,
    ) -> Result<()> {
        let digest = manifest.digest().clone();
        let mut annotations = HashMap::from([(IMAGE_ID.to_owned(), id.to_string())]);
        match name {
            None if self.entries.iter().any(|entry| *entry.digest() == digest) => return Ok(()),
            None => {}
            Some(name) => {
                // Its own nameless entry has become superfluous.
                self.entries.retain(|entry| ref_name(entry).is_some() || *entry.digest() != digest);
                let full = name.full();
                let holder = self.entries.iter().position(|entry| ref_name(entry) == Some(&full));
                if let Some(position) = holder {
                    let old = self.entries.remove(position);
                    if *old.digest() != digest {
                        self.keep_nameless(old);
                    }
                }
                annotations.insert(REF_NAME.to_owned(), full);
                annotations.extend(pulled.map(|digest| (PULLED.to_owned(), digest.to_string())));
            }
        }
        let mut manifest = manifest;
        manifest.set_annotations(Some(annotations));
        self.entries.push(manifest);
        Ok(())
    }

    fn keep_nameless(&mut self, mut entry: Descriptor) {
        if self.entries.iter().any(|other| other.digest() == entry.digest()) {
            return;
        }
        let mut annotations = entry.annotations().clone().unwrap_or_default();
        annotations.remove(REF_NAME);
        annotations.remove(PULLED);
        entry.set_annotations(Some(annotations));
        self.entries.push(entry);
    }

    /// Takes out the entries for which `gone` holds.
    fn remove(&mut self, gone: impl Fn(&Descriptor) -> bool) {
        self.entries.retain(|entry| !gone(entry));
    }

    fn write(self, session: &Session) -> Result<()> {
        let draft = session.draft("index");
        let index = ImageIndexBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageIndex)
            .manifests(self.entries)
            .build()
            .map_err(io::Error::other)
            .at("writing", &self.path)?;
        durable::replace(&self.path, &draft, &sorted_json(&index).at("writing", &self.path)?)
    }
}

fn index_path(store: &Store) -> PathBuf {
    store.root.join("oci/index.json")
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        bytes => bytes.map(Some).at("reading", path),
    }
}

/// The images that have files of their own here, whether the index has them or not.
pub fn images_on_disk(store: &Store) -> Result<Vec<ImageId>> {
    let directory = store.root.join("images/sha256");
    let mut ids = Vec::new();
    for entry in fs::read_dir(&directory).at("reading", &directory)? {
        let name = entry.at("reading", &directory)?.file_name();
        ids.extend(name.to_str().and_then(|name| Digest::from_hex(name).ok()).map(ImageId));
    }
    Ok(ids)
}

/// Makes an index without entries where there is neither one nor an image, before the first is added: from then on
/// its absence means that it was lost.
pub fn begin(session: &Session) -> Result<()> {
    let store = session.store;
    let path = index_path(store);
    if path.exists() {
        return Ok(());
    }
    let _lock = lock(&store.lock_path("names"))?;
    match path.exists() || !images_on_disk(store)?.is_empty() {
        true => Ok(()),
        false => Names { path, entries: Vec::new() }.write(session),
    }
}

/// JSON with sorted keys: the same value is always the same bytes.
pub fn sorted_json(value: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&serde_json::to_value(value)?)?)
}

fn annotation<'a>(entry: &'a Descriptor, key: &str) -> Option<&'a String> {
    entry.annotations().as_ref().and_then(|annotations| annotations.get(key))
}

/// The image that was built here for an entry, as vmrun notes it.
pub fn built_as(entry: &Descriptor) -> Option<ImageId> {
    annotation(entry, IMAGE_ID)?.parse().ok()
}

pub fn ref_name(entry: &Descriptor) -> Option<&String> {
    annotation(entry, REF_NAME)
}

fn named(store: &Store, entry: &Descriptor) -> Option<Named> {
    let manifest: Digest = entry.digest().to_string().parse().ok()?;
    let id = match annotation(entry, IMAGE_ID) {
        Some(id) => id.parse().ok()?,
        None => id_of(store, &manifest)?,
    };
    let reference = ref_name(entry).and_then(|name| name.parse().ok());
    let pulled = annotation(entry, PULLED).and_then(|digest| digest.parse().ok());
    Some(Named { reference, manifest, id, pulled })
}

/// For an entry that another tool has made.
fn id_of(store: &Store, manifest: &Digest) -> Option<ImageId> {
    let manifest = blobs::manifest(store, manifest).ok()?;
    let id = ImageId(manifest.config().digest().to_string().parse().ok()?);
    store.image_directory(&id).exists().then_some(id)
}

/// Replaces an index that is lost or cannot be read by one with every image whose manifest, configuration and disk are
/// there, nameless. The old one stays beside it.
pub fn salvage(session: &Session) -> Result<Vec<Descriptor>> {
    let store = session.store;
    let _lock = lock(&store.lock_path("names"))?;
    let path = index_path(store);
    // A link, so that there is an index at every moment: without one all images would be nobody's.
    let aside = path.with_extension("json.damaged");
    let _ = fs::remove_file(&aside);
    match fs::hard_link(&path, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).at("keeping", &path),
        _ => {}
    }
    let mut index = Names { path, entries: Vec::new() };
    let directory = store.root.join("oci/blobs/sha256");
    for entry in fs::read_dir(&directory).at("reading", &directory)? {
        let entry = entry.at("reading", &directory)?;
        let length = entry.metadata().at("reading", &entry.path())?.len();
        let digest = entry.file_name().to_str().and_then(|name| Digest::from_hex(name).ok());
        let Some(digest) = digest.filter(|_| length <= store.limits.archive.document_bytes) else { continue };
        if let Some(id) = id_of(store, &digest) {
            let media_type = blobs::manifest(store, &digest)?.media_type().clone();
            let media_type = media_type.unwrap_or(MediaType::ImageManifest);
            index.add(Descriptor::new(media_type, length, digest.to_oci()), id, None, None)?;
        }
    }
    let entries = index.entries.clone();
    index.write(session)?;
    Ok(entries)
}

/// Adds names for an image whose layers, blobs and disk are in place. `pulled` is what they stood for where it
/// was pulled from.
pub fn publish(
    session: &Session,
    manifest: &Descriptor,
    id: ImageId,
    names: &[Reference],
    pulled: Option<&Digest>,
) -> Result<()> {
    let store = session.store;
    for directory in ["oci/blobs/sha256", "layers/sha256", "images/sha256"] {
        durable::sync_directory(&store.root.join(directory))?;
    }
    let _lock = lock(&store.lock_path("names"))?;
    let mut index = Names::read(store)?;
    if names.is_empty() {
        index.add(manifest.clone(), id, None, None)?;
    }
    for name in names {
        index.add(manifest.clone(), id, Some(name), pulled)?;
    }
    index.write(session)
}

/// Changes the index by taking entries out, all or only those of one name. `check` sees the index first, under
/// the lock, and says which.
pub fn withdraw<T>(session: &Session, choose: impl FnOnce(&[Named]) -> Result<(T, Withdrawal)>) -> Result<T> {
    let store = session.store;
    let _lock = lock(&store.lock_path("names"))?;
    let mut index = Names::read(store)?;
    let (result, withdrawal) = choose(&index.all(store))?;
    match withdrawal {
        Withdrawal::Name(name) => {
            let full = name.full();
            index.remove(|entry| ref_name(entry) == Some(&full));
        }
        Withdrawal::Entries(chosen) => {
            let is_one = |named: Named| chosen.contains(&(named.manifest, named.reference));
            index.remove(|entry| named(store, entry).is_some_and(is_one));
        }
        Withdrawal::Image(id) => {
            let is_it = |entry: &Descriptor| named(store, entry).is_some_and(|named| named.id == id);
            index.remove(is_it);
        }
    }
    index.write(session)?;
    Ok(result)
}

pub enum Withdrawal {
    /// One name; the image has others.
    Name(Reference),
    /// Everything that refers to an image.
    Image(ImageId),
    /// These, by manifest and name.
    Entries(HashSet<(Digest, Option<Reference>)>),
}
