//! `vmrun save`: images as one archive, that of an OCI image layout and of `docker save` at once.
//!
//! The same images give the same bytes: entries are sorted, and nothing in them depends on the day.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use oci_spec::image::Descriptor;
use serde_json::{Value, json};

use super::content::{Content, ContentLayer, check_media_types};
use super::error::{Error, Result};
use super::names::sorted_json;
use super::session::Session;
use super::{OCI_LAYOUT, Store, blobs};
use crate::archive::{CONTAINERD_NAME, REF_NAME, blob_path};
use crate::digest::{Digest, Hasher};
use crate::reference::Reference;

/// Whose archive it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// Both at once, as newer Dockers write it.
    Both,
    /// An OCI image layout alone.
    Oci,
    /// What `docker load` of any age reads, alone.
    Docker,
}

/// An image to be saved, under the names by which it was asked for.
struct Saved {
    content: Content,
    names: BTreeSet<Reference>,
}

impl Store {
    /// Writes images to a tar. An image that is asked for by a name has that name there; by its id, none. Layers
    /// are written as they are stored, and checked on the way.
    pub fn save(&self, images: &[String], format: ArchiveFormat, out: &mut dyn Write) -> Result<()> {
        // As long as it lasts, nothing is removed.
        let session = Session::begin(self)?;
        let result = self.save_held(images, format, out);
        drop(session);
        if self.collect_wanted() {
            // Somebody removed something meanwhile, and left the files to us; what counts is the archive.
            let _ = self.collect();
        }
        result
    }

    fn save_held(&self, images: &[String], format: ArchiveFormat, out: &mut dyn Write) -> Result<()> {
        let mut saved: Vec<Saved> = Vec::new();
        for wanted in images {
            let image = self.resolve(wanted)?;
            let content = self.content(&image)?;
            let name = image.name().cloned();
            match saved.iter_mut().find(|saved| saved.content.manifest.digest == content.manifest.digest) {
                Some(saved) => saved.names.extend(name),
                None => saved.push(Saved { content, names: name.into_iter().collect() }),
            }
        }
        if format != ArchiveFormat::Docker {
            let layers = saved.iter().flat_map(|saved| &saved.content.layers);
            check_media_types(layers.map(|layer| &layer.descriptor))?;
        }
        // The order in which they were asked for does not matter.
        saved.sort_by_key(|saved| saved.content.manifest.digest);
        write(self, &saved, format, out)
    }
}

/// Where an archive has an image's configuration and a layer.
struct Paths(ArchiveFormat);

impl Paths {
    fn config(&self, content: &Content) -> String {
        match self.0 {
            ArchiveFormat::Docker => format!("{}.json", content.config.digest.hex()),
            _ => blob_path(&content.config.digest),
        }
    }

    /// A docker archive promises nothing of how its layers are compressed, so it names them by what they unpack to.
    fn layer(&self, layer: &ContentLayer) -> String {
        match self.0 {
            ArchiveFormat::Docker => format!("{}.tar", layer.diff_id.hex()),
            _ => blob_path(&layer.blob),
        }
    }
}

fn write(store: &Store, saved: &[Saved], format: ArchiveFormat, out: &mut dyn Write) -> Result<()> {
    let paths = Paths(format);
    let mut blobs: BTreeMap<String, (Digest, u64)> = BTreeMap::new();
    for Saved { content, .. } in saved {
        if format != ArchiveFormat::Docker {
            let manifest = &content.manifest;
            blobs.insert(blob_path(&manifest.digest), (manifest.digest, manifest.bytes.len() as u64));
        }
        blobs.insert(paths.config(content), (content.config.digest, content.config.bytes.len() as u64));
        for layer in &content.layers {
            blobs.insert(paths.layer(layer), (layer.blob, layer.size));
        }
    }
    let mut archive = Archive { tar: tar::Builder::new(out) };
    if format != ArchiveFormat::Docker {
        archive.directory("blobs/")?;
        archive.directory("blobs/sha256/")?;
    }
    for (path, (digest, size)) in &blobs {
        archive.blob(path, store, digest, *size)?;
    }
    if format != ArchiveFormat::Docker {
        archive.document("index.json", &sorted_json(&index(saved)).map_err(Error::Output)?)?;
    }
    if format != ArchiveFormat::Oci {
        archive.document("manifest.json", docker_manifest(saved, &paths).to_string().as_bytes())?;
    }
    if format != ArchiveFormat::Docker {
        archive.document("oci-layout", OCI_LAYOUT)?;
    }
    if format != ArchiveFormat::Oci {
        archive.document("repositories", repositories(saved).to_string().as_bytes())?;
    }
    archive.tar.into_inner().and_then(|out| out.flush()).map_err(Error::Output)
}

/// The layout's index: an image as often as it has names.
fn index(saved: &[Saved]) -> Value {
    let entry = |manifest: &Descriptor, name: Option<&Reference>| {
        let mut entry = json!({
            "mediaType": manifest.media_type().to_string(),
            "digest": manifest.digest().to_string(),
            "size": manifest.size(),
        });
        if let Some(name) = name {
            entry["annotations"] = json!({ CONTAINERD_NAME: name.full(), REF_NAME: name.full() });
        }
        entry
    };
    let mut manifests = Vec::new();
    for Saved { content, names } in saved {
        manifests.extend(names.iter().map(|name| entry(&content.manifest.descriptor, Some(name))));
        if names.is_empty() {
            manifests.push(entry(&content.manifest.descriptor, None));
        }
    }
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    })
}

/// Docker's own list.
fn docker_manifest(saved: &[Saved], paths: &Paths) -> Value {
    let entry = |Saved { content, names }: &Saved| {
        let names: Vec<String> = names.iter().filter_map(tagged).collect();
        json!({
            "Config": paths.config(content),
            "RepoTags": if names.is_empty() { Value::Null } else { json!(names) },
            "Layers": content.layers.iter().map(|layer| paths.layer(layer)).collect::<Vec<_>>(),
        })
    };
    saved.iter().map(entry).collect()
}

/// Docker knows nothing but tags here.
fn tagged(name: &Reference) -> Option<String> {
    name.without_digest().map(|name| name.to_string())
}

/// What the oldest Dockers look at: tags by repository, each with its topmost layer.
fn repositories(saved: &[Saved]) -> Value {
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for Saved { content, names } in saved {
        for name in names {
            if let (Some(tag), Some(top)) = (name.tag(), content.layers.last()) {
                let tags = repositories.entry(name.familiar_name()).or_default();
                tags.insert(tag.to_owned(), top.blob.hex());
            }
        }
    }
    json!(repositories)
}

struct Archive<W: Write> {
    tar: tar::Builder<W>,
}

impl<W: Write> Archive<W> {
    fn append(&mut self, path: &str, size: u64, content: impl Read) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mode(0o644);
        if path.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
        }
        self.tar.append_data(&mut header, path, content).map_err(Error::Output)
    }

    fn directory(&mut self, path: &str) -> Result<()> {
        self.append(path, 0, io::empty())
    }

    fn document(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.append(path, bytes.len() as u64, bytes)
    }

    fn blob(&mut self, path: &str, store: &Store, digest: &Digest, size: u64) -> Result<()> {
        let mut source = Checked { file: store.open_blob(digest)?.take(size), hasher: Hasher::default() };
        self.append(path, size, &mut source)?;
        let (length, actual) = (source.hasher.length(), source.hasher.finish());
        if actual != *digest || length != size {
            let reason = format!("its first {length} bytes have the digest {actual}");
            return Err(Error::Damaged { path: blobs::path(store, digest), reason });
        }
        Ok(())
    }
}

/// What passes by is hashed.
struct Checked<R> {
    file: R,
    hasher: Hasher,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(out)?;
        self.hasher.update(&out[..length]);
        Ok(length)
    }
}
