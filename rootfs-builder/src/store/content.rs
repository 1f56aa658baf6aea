//! What the store keeps of an image as it came: manifest, configuration and layers, for those who pass it on.

use std::fs::File;
use std::path::PathBuf;

use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest, MediaType};

use super::error::{At, Error, Result};
use super::images::Image;
use super::names::Names;
use super::{Store, blobs};
use crate::digest::Digest;
use crate::image::ImageId;

/// A document with the descriptor that points to it; the bytes have been checked against it.
#[derive(Clone, Debug)]
pub struct Document {
    pub descriptor: Descriptor,
    pub digest: Digest,
    pub bytes: Vec<u8>,
}

/// A layer's blob, as the image's manifest describes it.
#[derive(Clone, Debug)]
pub struct ContentLayer {
    /// With the media type and the annotations that the manifest has.
    pub descriptor: Descriptor,
    pub blob: Digest,
    /// Bytes of the blob.
    pub size: u64,
    pub diff_id: Digest,
}

/// An image as it came.
#[derive(Clone, Debug)]
pub struct Content {
    pub id: ImageId,
    pub manifest: Document,
    pub config: Document,
    /// The same as `config`, understood.
    pub configuration: ImageConfiguration,
    /// Lowest first.
    pub layers: Vec<ContentLayer>,
}

/// Refuses layers that nobody else could read: others go by the media type, and there is none for the rarer
/// compressions.
pub(super) fn check_media_types<'a>(layers: impl IntoIterator<Item = &'a Descriptor>) -> Result<()> {
    for layer in layers {
        let media_type = layer.media_type().to_string();
        if media_type.ends_with("+xz") || media_type.ends_with("+bzip2") {
            return Err(Error::NoMediaType { blob: layer.digest().to_string().parse()?, media_type });
        }
    }
    Ok(())
}

impl Store {
    /// The manifest, the configuration and the layers of an image; under the name by which it was found, if the
    /// same image came with several manifests. Both documents are read and checked, the layers are not.
    pub fn content(&self, image: &Image) -> Result<Content> {
        let digest = image.manifest();
        let bytes = blobs::document(self, &digest)?;
        let damaged = |reason: String| Error::Damaged { path: blobs::path(self, &digest), reason };
        let manifest: ImageManifest =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let entry = Names::read(self)?
            .descriptors()
            .iter()
            .find(|entry| *entry.digest() == digest.to_oci())
            .map(|entry| entry.media_type().clone());
        let media_type = entry.or(manifest.media_type().clone()).unwrap_or(MediaType::ImageManifest);
        let manifest_descriptor = Descriptor::new(media_type, bytes.len() as u64, digest.to_oci());

        let config_bytes = blobs::document(self, &image.id().0)?;
        let configuration: ImageConfiguration =
            serde_json::from_slice(&config_bytes).map_err(|error| damaged(error.to_string()))?;
        let diff_ids = configuration.rootfs().diff_ids();
        if diff_ids.len() != manifest.layers().len() {
            return Err(damaged(format!("it has {} layers of {}", manifest.layers().len(), diff_ids.len())));
        }
        let mut layers = Vec::with_capacity(diff_ids.len());
        for (descriptor, diff_id) in manifest.layers().iter().zip(diff_ids) {
            layers.push(ContentLayer {
                blob: descriptor.digest().to_string().parse()?,
                size: descriptor.size(),
                diff_id: diff_id.parse()?,
                descriptor: descriptor.clone(),
            });
        }
        Ok(Content {
            id: image.id(),
            manifest: Document { descriptor: manifest_descriptor, digest, bytes },
            config: Document {
                descriptor: manifest.config().clone(),
                digest: image.id().0,
                bytes: config_bytes,
            },
            configuration,
            layers,
        })
    }

    /// Where a blob of the store is: a file whose name is its digest.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        blobs::path(self, digest)
    }

    /// Opens a blob. Its content is what was checked when it was stored.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = blobs::path(self, digest);
        File::open(&path).at("opening", &path)
    }
}
