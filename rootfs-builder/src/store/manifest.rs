//! Manifests and configurations for images that come without.

use std::io;

use oci_spec::image::{Descriptor, ImageManifestBuilder, MediaType, SCHEMA_VERSION};

use super::error::{Error, Result};
use super::layers::Added;
use super::names::sorted_json;
use crate::archive::{FoundImage, FoundLayer};
use crate::digest::Digest;
use crate::reference::Reference;

/// Describes layers that are in the store by a manifest of our own.
pub fn manifest_of(
    config: Vec<u8>,
    layers: &[Added],
    names: Vec<Reference>,
    warnings: Vec<String>,
) -> Result<FoundImage> {
    let failed =
        |error| Error::Io { doing: "writing", path: "the manifest".into(), source: io::Error::other(error) };
    let descriptor = |layer: &Added| {
        let media_type = MediaType::from(layer.compression.layer_media_type());
        Descriptor::new(media_type, layer.size, layer.blob.to_oci())
    };
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(Descriptor::new(MediaType::ImageConfig, config.len() as u64, Digest::of(&config).to_oci()))
        .layers(layers.iter().map(descriptor).collect::<Vec<_>>())
        .build()
        .map_err(|error| failed(error.to_string()))?;
    Ok(FoundImage {
        names,
        manifest: sorted_json(&manifest).map_err(|error| failed(error.to_string()))?,
        manifest_media_type: MediaType::ImageManifest.to_string(),
        config,
        layers: layers
            .iter()
            .map(|layer| FoundLayer { blob: layer.blob, size: layer.size, diff_id: layer.diff_id })
            .collect(),
        warnings,
    })
}
