//! What `vmrun push` sends: an image's documents and blobs as the store has them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;

use oci_spec::image::ImageManifest;

use super::content::check_media_types;
use super::error::{At, Error, Result};
use super::images::find;
use super::names::Names;
use super::session::Session;
use super::{Store, blobs};
use crate::digest::Digest;
use crate::reference::Reference;

/// An image to be sent. As long as this value lives, nothing of it is removed.
pub struct Outgoing<'s> {
    /// The manifest's bytes as they came, so that its digest stays the same.
    pub manifest: Vec<u8>,
    pub media_type: String,
    pub digest: Digest,
    /// Its layers, lowest first, and its configuration; each once.
    pub blobs: Vec<OutgoingBlob>,
    _session: Session<'s>,
}

/// A blob in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingBlob {
    pub digest: Digest,
    pub size: u64,
    pub path: PathBuf,
    /// Other repositories of the same registry that probably have it, because they gave or got it.
    pub elsewhere: Vec<String>,
}

impl OutgoingBlob {
    pub fn open(&self) -> Result<File> {
        File::open(&self.path).at("opening", &self.path)
    }
}

impl Store {
    /// Finds what is called `name` and all that belongs to it.
    pub fn outgoing(&self, name: &Reference) -> Result<Outgoing<'_>> {
        let session = Session::begin(self)?;
        let names = Names::read(self)?;
        let images = names.all(self);
        let found = find(&images, &name.full()).map_err(|_| Error::NotFound(name.to_string()))?.0;
        let entry = names.descriptors().iter().find(|entry| is(entry.digest().as_ref(), &found.manifest));
        let media_type = entry.map_or_else(String::new, |entry| entry.media_type().to_string());
        let manifest = blobs::document(self, &found.manifest)?;
        if let Ok(parsed) = serde_json::from_slice::<ImageManifest>(&manifest) {
            check_media_types(parsed.layers())?;
        }

        // Who has which of the blobs: names of the same registry, other than this repository.
        let mut others: Vec<(String, BTreeSet<Digest>)> = Vec::new();
        for other in &images {
            if let Some(reference) = &other.reference
                && reference.registry() == name.registry()
                && reference.repository() != name.repository()
                && let Ok(blobs) = self.blobs_of(&other.manifest)
            {
                others.push((
                    reference.repository().to_owned(),
                    blobs.into_iter().map(|(digest, _)| digest).collect(),
                ));
            }
        }
        let mut outgoing: Vec<OutgoingBlob> = Vec::new();
        for (digest, size) in self.blobs_of(&found.manifest)? {
            if outgoing.iter().any(|known| known.digest == digest) {
                continue;
            }
            let path = blobs::path(self, &digest);
            if !fs::metadata(&path).is_ok_and(|metadata| metadata.len() == size) {
                return Err(Error::MissingBlob { what: name.to_string(), blob: digest });
            }
            let elsewhere: BTreeSet<String> = others
                .iter()
                .filter(|(_, blobs)| blobs.contains(&digest))
                .map(|(repository, _)| repository.clone())
                .collect();
            outgoing.push(OutgoingBlob { digest, size, path, elsewhere: elsewhere.into_iter().collect() });
        }
        Ok(Outgoing { manifest, media_type, digest: found.manifest, blobs: outgoing, _session: session })
    }

    /// Layers, lowest first, and then the configuration, with their sizes.
    fn blobs_of(&self, manifest: &Digest) -> Result<Vec<(Digest, u64)>> {
        let damaged = |reason: String| Error::Damaged { path: blobs::path(self, manifest), reason };
        let bytes = blobs::document(self, manifest)?;
        let parsed: ImageManifest =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let all = parsed.layers().iter().chain(std::iter::once(parsed.config()));
        all.map(|blob| Ok((blob.digest().to_string().parse()?, blob.size()))).collect()
    }
}

fn is(text: &str, digest: &Digest) -> bool {
    text.parse() == Ok(*digest)
}
