//! Reading the small JSON documents that describe images, and checking them.

use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest, MediaType};
use serde::de::DeserializeOwned;

use super::{Error, FoundLayer, Limits, shown};
use crate::digest::Digest;
use crate::image::{ARCHITECTURE, OS};

/// Where documents come from.
pub trait Documents {
    /// The blob of that digest, if it is there and at most `limit` bytes long.
    fn blob(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, Error>;
}

pub fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::Malformed { what: what.to_owned(), reason: shown(&error.to_string()) })
}

pub fn digest_of(what: &str, descriptor: &Descriptor) -> Result<Digest, Error> {
    let text = descriptor.digest().to_string();
    text.parse().map_err(|source| Error::DigestForm { what: what.to_owned(), source })
}

/// Fetches what a descriptor points to; digest and size are checked.
pub fn fetch(
    documents: &dyn Documents,
    kind: &str,
    descriptor: &Descriptor,
    limits: &Limits,
) -> Result<(Digest, Vec<u8>), Error> {
    let digest = digest_of(kind, descriptor)?;
    let what = || format!("{kind} {}", digest.short());
    let limit = limits.document_bytes;
    if descriptor.size() > limit {
        return Err(Error::DocumentTooLarge { what: what(), limit });
    }
    let bytes = documents.blob(&digest, limit)?.ok_or_else(|| Error::Missing { what: what() })?;
    if bytes.len() as u64 != descriptor.size() {
        return Err(Error::Size { what: what(), expected: descriptor.size(), actual: bytes.len() as u64 });
    }
    let actual = Digest::of(&bytes);
    if actual != digest {
        return Err(Error::Digest { what: what(), expected: digest, actual });
    }
    Ok((digest, bytes))
}

/// What has been learnt from a configuration that fits.
#[derive(Debug)]
pub struct CheckedConfig {
    pub config: ImageConfiguration,
    pub diff_ids: Vec<Digest>,
}

/// Parses an image's configuration and sees that it is for this platform.
pub fn check_config(what: &str, bytes: &[u8], limits: &Limits) -> Result<CheckedConfig, Error> {
    let config: ImageConfiguration = parse(what, bytes)?;
    let (os, architecture) = (config.os().to_string(), config.architecture().to_string());
    // Very old images leave them out.
    let fits = (os == OS || os.is_empty()) && (architecture == ARCHITECTURE || architecture.is_empty());
    if !fits {
        return Err(Error::OtherPlatform(shown(&format!("{os}/{architecture}"))));
    }
    let diff_ids: Vec<Digest> = config
        .rootfs()
        .diff_ids()
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()
        .map_err(|source| Error::DigestForm { what: format!("a diff ID of {what}"), source })?;
    if diff_ids.len() > limits.layers {
        return Err(Error::TooManyLayers {
            what: what.to_owned(),
            layers: diff_ids.len(),
            limit: limits.layers,
        });
    }
    Ok(CheckedConfig { config, diff_ids })
}

/// Pairs a manifest's layers with the diff IDs of its configuration.
pub fn layers(what: &str, manifest: &ImageManifest, diff_ids: &[Digest]) -> Result<Vec<FoundLayer>, Error> {
    let layers = manifest.layers();
    if layers.len() != diff_ids.len() {
        return Err(Error::LayerCount {
            what: what.to_owned(),
            layers: layers.len(),
            diff_ids: diff_ids.len(),
        });
    }
    let pair = |(layer, diff_id): (&Descriptor, &Digest)| {
        let blob = digest_of(&format!("a layer of {what}"), layer)?;
        match layer.media_type().to_string().ends_with("+encrypted") {
            true => Err(Error::Encrypted(blob.short())),
            false => Ok(FoundLayer { blob, size: layer.size(), diff_id: *diff_id }),
        }
    };
    layers.iter().zip(diff_ids).map(pair).collect()
}

/// Refuses what is stored like an image but is none: charts, signatures, attestations.
pub fn check_kind(what: &str, manifest: &ImageManifest) -> Result<(), Error> {
    match manifest.config().media_type() {
        MediaType::ImageConfig => Ok(()),
        MediaType::Other(kind) if kind == "application/vnd.docker.container.image.v1+json" => Ok(()),
        kind => Err(Error::NotAContainer { what: what.to_owned(), kind: shown(kind.as_ref()) }),
    }
}
