//! An image as `docker image inspect` shows it, and what vmrun made of it.

use std::collections::BTreeSet;

use anyhow::Result;
use rootfs_builder::store::{ContentLayer, Store};
use serde_json::{Value, json};

pub fn find(store: &Store, name: &str) -> Result<Value> {
    let image = store.resolve(name)?;
    let content = store.content(&image)?;
    let config: Value = serde_json::from_slice(&content.config.bytes)?;
    let (mut tags, mut digests) = (BTreeSet::new(), BTreeSet::new());
    for summary in store.images()?.into_iter().filter(|summary| summary.id == image.id()) {
        let Some(reference) = &summary.reference else { continue };
        digests.insert(format!("{}@{}", reference.familiar_name(), summary.digest()));
        tags.extend(reference.without_digest().map(|tagged| tagged.to_string()));
    }
    let disk = image.disk();
    let layer = |(layer, (_, data)): (&ContentLayer, (_, u64))| {
        json!({
            "DiffId": layer.diff_id.to_string(),
            "Blob": layer.blob.to_string(),
            "MediaType": layer.descriptor.media_type().to_string(),
            "Size": layer.size,
            "DataBytes": data,
        })
    };
    let layers: Vec<Value> = content.layers.iter().zip(image.layers()).map(layer).collect();
    Ok(json!({
        "Id": image.id().to_string(),
        "RepoTags": tags,
        "RepoDigests": digests,
        "Created": config.get("created"),
        "Author": config.get("author"),
        "Architecture": config.get("architecture"),
        "Variant": config.get("variant"),
        "Os": config.get("os"),
        "Size": disk.length,
        "Config": config.get("config"),
        "RootFS": {
            "Type": "layers",
            "Layers": content.layers.iter().map(|layer| layer.diff_id.to_string()).collect::<Vec<_>>(),
        },
        "Manifest": {
            "Digest": content.manifest.digest.to_string(),
            "MediaType": content.manifest.descriptor.media_type().to_string(),
            "Size": content.manifest.bytes.len(),
        },
        "Disk": {
            "Bytes": disk.length,
            "MetadataBytes": image.metadata_length(),
            "Parts": disk.parts.iter().map(|part| &part.path).collect::<Vec<_>>(),
        },
        "Layers": layers,
    }))
}
