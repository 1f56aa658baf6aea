//! From an index to the images for this platform (OCI image-spec, image-index.md).

use std::collections::HashSet;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};

use super::documents::{self, Documents, Kind, check_config, check_kind, fetch, parse};
use super::names::name_of;
use super::{Error, FoundImage, Limits, shown};
use crate::digest::Digest;
use crate::image::Platform;

/// An index in an index in an index: more has no use.
const DEEPEST: usize = 4;

/// Finds the images of a layout's `index.json`: of each of its entries the one for linux/amd64. Those for other
/// platforms are left out, and an error if there is no other.
pub fn find_images(
    index: &[u8],
    documents: &dyn Documents,
    limits: &Limits,
) -> Result<Vec<FoundImage>, Error> {
    let index: ImageIndex = parse("index.json", index)?;
    let mut images: Vec<(Digest, FoundImage)> = Vec::new();
    let platform = Platform::default();
    let mut left_out = LeftOut::default();
    for descriptor in index.manifests() {
        let mut search =
            Search { documents, platform: &platform, limits, seen: HashSet::new(), left_out: &mut left_out };
        let Some((digest, mut image)) = search.image(descriptor, DEEPEST)? else {
            continue;
        };
        let (name, warning) = name_of(descriptor);
        image.warnings.extend(warning);
        match images.iter_mut().find(|(known, _)| *known == digest) {
            Some((_, known)) => known.names.extend(name),
            None => {
                image.names.extend(name);
                images.push((digest, image));
            }
        }
    }
    match images.is_empty() {
        true => Err(left_out.into_error(&platform)),
        false => Ok(images.into_iter().map(|(_, image)| image).collect()),
    }
}

/// Finds the image for a platform behind a descriptor: of a manifest, or of an index.
pub fn find_image(
    descriptor: &Descriptor,
    documents: &dyn Documents,
    platform: &Platform,
    limits: &Limits,
) -> Result<FoundImage, Error> {
    let mut left_out = LeftOut::default();
    let mut search = Search { documents, platform, limits, seen: HashSet::new(), left_out: &mut left_out };
    match search.image(descriptor, DEEPEST)? {
        Some((_, image)) => Ok(image),
        None => Err(left_out.into_error(platform)),
    }
}

/// Why there is no image, when there is none.
#[derive(Default)]
struct LeftOut {
    platforms: Vec<String>,
    /// The first thing that was no image at all.
    other: Option<Error>,
}

impl LeftOut {
    fn platform(&mut self, platform: String) {
        if self.platforms.len() < 20 && !self.platforms.contains(&platform) {
            self.platforms.push(platform);
        }
    }

    fn into_error(self, wanted: &Platform) -> Error {
        match (self.platforms.is_empty(), self.other) {
            (false, _) => {
                Error::OtherPlatforms { wanted: wanted.to_string(), others: self.platforms.join(", ") }
            }
            (true, Some(error)) => error,
            (true, None) => Error::NoImage,
        }
    }
}

struct Search<'a> {
    documents: &'a dyn Documents,
    platform: &'a Platform,
    limits: &'a Limits,
    /// Every index is looked into once, so that many references to few documents cost nothing.
    seen: HashSet<Digest>,
    left_out: &'a mut LeftOut,
}

impl Search<'_> {
    fn image(
        &mut self,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<Option<(Digest, FoundImage)>, Error> {
        if let Some(platform) = descriptor.platform() {
            let platform = Platform {
                os: platform.os().to_string(),
                architecture: platform.architecture().to_string(),
                variant: platform.variant().clone(),
            };
            if !self.platform.takes(&platform) {
                // Attestations are stored as if for that platform.
                if platform.os != "unknown" {
                    self.left_out.platform(shown(&platform.to_string()));
                }
                return Ok(None);
            }
        }
        match descriptor.media_type().to_string().as_str() {
            "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json" => self.manifest(descriptor),
            "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json" => self.index(descriptor, depth),
            kind => {
                let what = format!("entry {} of the index", shown(descriptor.digest().as_ref()));
                self.left_out.other.get_or_insert(Error::NotAContainer { what, kind: shown(kind) });
                Ok(None)
            }
        }
    }

    fn index(
        &mut self,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<Option<(Digest, FoundImage)>, Error> {
        if depth == 0 {
            return Err(Error::TooDeep(DEEPEST));
        }
        let digest = documents::digest_of("an index", descriptor)?;
        if !self.seen.insert(digest) {
            return Err(Error::Circle(digest));
        }
        let (_, bytes) = fetch(self.documents, Kind::Index, descriptor, self.limits)?;
        let index: ImageIndex = parse(&format!("index {}", digest.short()), &bytes)?;
        // Of several that fit, the one that asks least of the processor: `amd64` before `amd64/v3`.
        let mut entries: Vec<&Descriptor> = index.manifests().iter().collect();
        entries
            .sort_by_key(|entry| entry.platform().as_ref().and_then(|platform| platform.variant().clone()));
        for entry in entries {
            if let Some(found) = self.image(entry, depth - 1)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn manifest(&mut self, descriptor: &Descriptor) -> Result<Option<(Digest, FoundImage)>, Error> {
        let (digest, bytes) = fetch(self.documents, Kind::Manifest, descriptor, self.limits)?;
        let what = format!("manifest {}", digest.short());
        let manifest: ImageManifest = parse(&what, &bytes)?;
        if let Err(error) = check_kind(&what, &manifest) {
            self.left_out.other.get_or_insert(error);
            return Ok(None);
        }
        let (config_digest, config) =
            fetch(self.documents, Kind::Configuration, manifest.config(), self.limits)?;
        let config_name = format!("configuration {}", config_digest.short());
        let checked = match check_config(&config_name, &config, self.platform, self.limits) {
            Err(Error::OtherPlatform { is, .. }) => {
                self.left_out.platform(is);
                return Ok(None);
            }
            checked => checked?,
        };
        let layers = documents::layers(&what, &manifest, &checked.diff_ids)?;
        let image = FoundImage {
            names: Vec::new(),
            manifest: bytes,
            manifest_media_type: descriptor.media_type().to_string(),
            config,
            layers,
            warnings: Vec::new(),
        };
        Ok(Some((digest, image)))
    }
}
