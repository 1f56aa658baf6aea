//! What `docker save` wrote before it carried an OCI layout: `manifest.json` lists images by the paths of their
//! configuration and layers.

use serde::Deserialize;

use super::documents::{Budget, check_config, parse};
use super::{Error, Limits, shown};
use crate::digest::Digest;
use crate::image::Platform;
use crate::reference::Reference;

/// One image of `manifest.json`.
pub struct DockerImage {
    pub names: Vec<Reference>,
    /// Path of the configuration.
    pub config_path: String,
    /// Lowest first.
    pub diff_ids: Vec<Digest>,
    /// Paths of the layers, lowest first, as many as the configuration has diff IDs.
    pub layers: Vec<String>,
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Reads `manifest.json`. `document` gives the bytes of the configuration at a path.
pub fn docker_images<'a>(
    manifest: &[u8],
    document: impl Fn(&str) -> Option<&'a [u8]>,
    limits: &Limits,
) -> Result<Vec<DockerImage>, Error> {
    let entries: Vec<Entry> = parse("manifest.json", manifest)?;
    if entries.is_empty() {
        return Err(Error::NoImage);
    }
    // One configuration can be named by many entries, and is read for each.
    let mut budget = Budget::new(limits);
    let mut counted = |path: &str| {
        let Some(bytes) = document(path) else { return Ok(None) };
        budget.take(bytes)?;
        Ok(Some(bytes))
    };
    entries.into_iter().map(|entry| image(entry, &mut counted, limits)).collect()
}

fn image<'a>(
    entry: Entry,
    document: &mut impl FnMut(&str) -> Result<Option<&'a [u8]>, Error>,
    limits: &Limits,
) -> Result<DockerImage, Error> {
    let what = format!("configuration {}", shown(&entry.config));
    let bytes = document(&entry.config)?.ok_or_else(|| Error::Missing { what: what.clone() })?;
    check_named_digest(&what, &entry.config, bytes)?;
    let config = check_config(&what, bytes, &Platform::default(), limits)?;
    let layers = entry.layers.unwrap_or_default();
    if layers.len() != config.diff_ids.len() {
        return Err(Error::LayerCount {
            what: "manifest.json".into(),
            layers: layers.len(),
            diff_ids: config.diff_ids.len(),
        });
    }
    let (mut names, mut warnings) = (Vec::new(), Vec::new());
    for name in entry.repo_tags.unwrap_or_default() {
        match name.parse::<Reference>() {
            Ok(name) => names.extend(name.without_digest()),
            Err(error) => warnings.push(format!("its name there is not used: {error}")),
        }
    }
    Ok(DockerImage { names, config_path: entry.config, diff_ids: config.diff_ids, layers, warnings })
}

/// A configuration is named by its digest (`<digest>.json` or `blobs/sha256/<digest>`), which has to be right.
fn check_named_digest(what: &str, path: &str, bytes: &[u8]) -> Result<(), Error> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let Ok(expected) = Digest::from_hex(name.strip_suffix(".json").unwrap_or(name)) else {
        return Ok(());
    };
    let actual = Digest::of(bytes);
    match actual == expected {
        true => Ok(()),
        false => Err(Error::Digest { what: what.to_owned(), expected, actual }),
    }
}
