//! `vmrun history`: how an image came to be, and what each layer costs and wastes.

use std::time::SystemTime;

use super::Store;
use super::content::ContentLayer;
use super::error::{Error, Result};
use super::images::Image;
use super::layers::LayerPaths;
use crate::digest::Digest;
use crate::erofs::{self, LayerFiles};
use crate::image::parse_time;

/// One step of an image's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    pub created: Option<SystemTime>,
    /// As the configuration has it; empty if that says nothing of this layer.
    pub created_by: String,
    pub comment: String,
    /// None for a step that changed no file.
    pub layer: Option<HistoryLayer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryLayer {
    pub diff_id: Digest,
    pub blob: Digest,
    /// Bytes of the blob.
    pub blob_size: u64,
    /// Bytes of the data file: what the layer's files take on disk.
    pub size: u64,
    /// How many of them belong to files that the image does not show: removed or replaced later on.
    pub wasted: u64,
}

impl Store {
    /// The steps that made an image, the latest first. Its layers are merged anew to find out what they hide of
    /// each other.
    pub fn history(&self, image: &Image) -> Result<Vec<HistoryEntry>> {
        let content = self.content(image)?;
        let wasted = self.wasted(image)?;
        let mut layers = content.layers.iter().zip(image.layers()).zip(wasted).map(
            |((ContentLayer { blob, size: blob_size, .. }, (diff_id, size)), wasted)| HistoryLayer {
                diff_id,
                blob: *blob,
                blob_size: *blob_size,
                size,
                wasted,
            },
        );
        let mut entries = Vec::new();
        for step in content.configuration.history().iter().flatten() {
            entries.push(HistoryEntry {
                created: step.created().as_deref().and_then(parse_time),
                created_by: step.created_by().clone().unwrap_or_default(),
                comment: step.comment().clone().unwrap_or_default(),
                layer: if step.empty_layer() == Some(true) { None } else { layers.next() },
            });
        }
        // A history may be missing, or shorter than the image.
        entries.extend(layers.map(|layer| HistoryEntry {
            created: None,
            created_by: String::new(),
            comment: String::new(),
            layer: Some(layer),
        }));
        entries.reverse();
        Ok(entries)
    }

    fn wasted(&self, image: &Image) -> Result<Vec<u64>> {
        let paths = self.layer_paths(image.layers());
        let files: Vec<LayerFiles> = paths.iter().map(LayerPaths::files).collect();
        erofs::hidden_bytes(&files).map_err(|source| Error::Metadata { image: image.id(), source })
    }
}
