//! What `vmrun push` sends: an image's documents and blobs as the store has them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;

use super::content::{Content, check_media_types};
use super::error::{At, Error, Result};
use super::images::Image;
use super::names::Names;
use super::{Store, blobs};
use crate::digest::Digest;
use crate::reference::Reference;

/// An image to be sent. As long as this value lives, the image cannot be removed.
pub struct Outgoing {
    pub content: Content,
    /// Its layers, lowest first, and its configuration; each once.
    pub blobs: Vec<OutgoingBlob>,
    _image: Image,
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
    pub fn outgoing(&self, name: &Reference) -> Result<Outgoing> {
        let image = match self.resolve(&name.full()) {
            Err(Error::NotFound(_)) => return Err(Error::NotFound(name.to_string())),
            image => image?,
        };
        let content = self.content(&image)?;
        check_media_types(content.layers.iter().map(|layer| &layer.descriptor))?;
        let others = self.other_repositories(name)?;
        let config = (content.config.digest, content.config.bytes.len() as u64);
        let needed = content.layers.iter().map(|layer| (layer.blob, layer.size)).chain([config]);
        let mut blobs: Vec<OutgoingBlob> = Vec::new();
        for (digest, size) in needed {
            if blobs.iter().any(|known| known.digest == digest) {
                continue;
            }
            let path = self.blob_path(&digest);
            match fs::metadata(&path).map(|metadata| metadata.len()) {
                Ok(length) if length == size => {}
                Ok(length) => {
                    let reason = format!("it has {length} bytes instead of {size}");
                    return Err(Error::Damaged { path, reason });
                }
                Err(_) => return Err(Error::MissingBlob { what: name.to_string(), blob: digest }),
            }
            let having = others.iter().filter(|(_, blobs)| blobs.contains(&digest));
            let elsewhere: BTreeSet<&String> = having.map(|(repository, _)| repository).collect();
            let elsewhere = elsewhere.into_iter().cloned().collect();
            blobs.push(OutgoingBlob { digest, size, path, elsewhere });
        }
        Ok(Outgoing { content, blobs, _image: image })
    }

    /// What the store knows of the registry of `name`: its other repositories, and which blobs they have.
    fn other_repositories(&self, name: &Reference) -> Result<Vec<(String, BTreeSet<Digest>)>> {
        let mut others = Vec::new();
        for image in Names::read(self)?.all(self) {
            if let Some(reference) = &image.reference
                && reference.registry() == name.registry()
                && reference.repository() != name.repository()
                && let Ok(manifest) = blobs::manifest(self, &image.manifest)
            {
                let all = manifest.layers().iter().chain([manifest.config()]);
                let digests = all.filter_map(|blob| blob.digest().to_string().parse().ok()).collect();
                others.push((reference.repository().to_owned(), digests));
            }
        }
        Ok(others)
    }
}
