//! Reading the small JSON documents that describe images, and checking them.

use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest, MediaType};
use serde::de::DeserializeOwned;

use super::{Error, FoundLayer, Limits, shown};
use crate::digest::Digest;
use crate::image::Platform;

/// Where documents come from.
pub trait Documents {
    /// The blob of that digest, if it is there and at most `limit` bytes long.
    fn blob(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, Error>;

    /// The same of a manifest or an index, which registries keep in another place than blobs.
    fn manifest(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        self.blob(digest, limit)
    }
}

pub fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::Malformed { what: what.to_owned(), reason: shown(&error.to_string()) })
}

pub fn digest_of(what: &str, descriptor: &Descriptor) -> Result<Digest, Error> {
    let text = descriptor.digest().to_string();
    text.parse().map_err(|source| Error::DigestForm { what: what.to_owned(), source })
}

/// How much may yet be read of documents, each counted as often as it is.
pub struct Budget<'a> {
    limits: &'a Limits,
    documents: usize,
    bytes: u64,
}

impl Budget<'_> {
    pub fn new(limits: &Limits) -> Budget<'_> {
        Budget { limits, documents: limits.documents, bytes: limits.all_documents_bytes }
    }

    pub fn take(&mut self, document: &[u8]) -> Result<(), Error> {
        let (documents, bytes) = (self.limits.documents, self.limits.all_documents_bytes);
        self.documents = self.documents.checked_sub(1).ok_or(Error::TooManyDocuments { limit: documents })?;
        self.bytes =
            self.bytes.checked_sub(document.len() as u64).ok_or(Error::DocumentsTooLarge { limit: bytes })?;
        Ok(())
    }
}

/// What a descriptor points to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Index,
    Manifest,
    Configuration,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Index => "index",
            Kind::Manifest => "manifest",
            Kind::Configuration => "configuration",
        }
    }
}

/// Fetches what a descriptor points to; digest and size are checked.
pub fn fetch(
    documents: &dyn Documents,
    kind: Kind,
    descriptor: &Descriptor,
    limits: &Limits,
) -> Result<(Digest, Vec<u8>), Error> {
    let digest = digest_of(kind.name(), descriptor)?;
    let what = || format!("{} {}", kind.name(), digest.short());
    let limit = limits.document_bytes;
    if descriptor.size() > limit {
        return Err(Error::DocumentTooLarge { what: what(), limit });
    }
    let bytes = match kind {
        Kind::Configuration => documents.blob(&digest, limit)?,
        Kind::Index | Kind::Manifest => documents.manifest(&digest, limit)?,
    };
    let bytes = bytes.ok_or_else(|| Error::Missing { what: what() })?;
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
    pub platform: Platform,
}

/// Parses an image's configuration and sees that it is for that platform.
pub fn check_config(
    what: &str,
    bytes: &[u8],
    platform: &Platform,
    limits: &Limits,
) -> Result<CheckedConfig, Error> {
    let checked = read_config(what, bytes, limits)?;
    // A variant is the index's affair: configurations often leave it out.
    let wanted = Platform { variant: None, ..platform.clone() };
    match wanted.takes(&checked.platform) {
        true => Ok(checked),
        false => Err(Error::OtherPlatform {
            is: shown(&checked.platform.to_string()),
            wanted: platform.to_string(),
        }),
    }
}

/// Parses an image's configuration, for whatever platform it is.
pub fn read_config(what: &str, bytes: &[u8], limits: &Limits) -> Result<CheckedConfig, Error> {
    let config: ImageConfiguration = parse(what, bytes)?;
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
    let platform = platform_of(&config);
    Ok(CheckedConfig { config, diff_ids, platform })
}

/// What an image is made for.
pub fn platform_of(config: &ImageConfiguration) -> Platform {
    // Very old images leave it out.
    let or = |text: String, default: String| if text.is_empty() { default } else { text };
    let default = Platform::default();
    Platform {
        os: or(config.os().to_string(), default.os),
        architecture: or(config.architecture().to_string(), default.architecture),
        variant: config.variant().clone().filter(|variant| !variant.is_empty()),
    }
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
