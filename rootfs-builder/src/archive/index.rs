//! From an index to the images for this platform (OCI image-spec, image-index.md).

use std::collections::HashMap;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};

use super::documents::{self, Budget, Documents, Kind, check_config, check_kind, fetch, parse};
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
    let platform = Platform::default();
    let mut search = Search::new(documents, &platform, limits);
    for descriptor in index.manifests() {
        let known = search.found.len();
        let Some(number) = search.image(descriptor, DEEPEST)? else {
            continue;
        };
        let image = &mut search.found[number];
        let (name, warning) = name_of(descriptor);
        image.names.extend(name);
        image.warnings.extend(warning.filter(|_| number >= known));
    }
    match search.found.is_empty() {
        true => Err(search.left_out.into_error(&platform)),
        false => Ok(search.found),
    }
}

/// Finds the image for a platform behind a descriptor: of a manifest, or of an index.
pub fn find_image(
    descriptor: &Descriptor,
    documents: &dyn Documents,
    platform: &Platform,
    limits: &Limits,
) -> Result<FoundImage, Error> {
    let mut search = Search::new(documents, platform, limits);
    match search.image(descriptor, DEEPEST)? {
        Some(number) => Ok(search.found.swap_remove(number)),
        None => Err(search.left_out.into_error(platform)),
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
    budget: Budget<'a>,
    found: Vec<FoundImage>,
    /// What each manifest and index came to that was looked into: no image, or one of those found. So many references
    /// to few documents cost nothing.
    known: HashMap<Digest, Option<usize>>,
    left_out: LeftOut,
}

impl<'a> Search<'a> {
    fn new(documents: &'a dyn Documents, platform: &'a Platform, limits: &'a Limits) -> Search<'a> {
        let (found, known) = (Vec::new(), HashMap::new());
        let budget = Budget::new(limits);
        Search { documents, platform, limits, budget, found, known, left_out: LeftOut::default() }
    }

    fn fetch(&mut self, kind: Kind, descriptor: &Descriptor) -> Result<(Digest, Vec<u8>), Error> {
        let (digest, bytes) = fetch(self.documents, kind, descriptor, self.limits)?;
        self.budget.take(&bytes)?;
        Ok((digest, bytes))
    }

    /// The image that a descriptor leads to, by its place among those found.
    fn image(&mut self, descriptor: &Descriptor, depth: usize) -> Result<Option<usize>, Error> {
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
        let kind = match descriptor.media_type().to_string().as_str() {
            "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json" => Kind::Manifest,
            "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json" => Kind::Index,
            kind => {
                let what = format!("entry {} of the index", shown(descriptor.digest().as_ref()));
                self.left_out.other.get_or_insert(Error::NotAContainer { what, kind: shown(kind) });
                return Ok(None);
            }
        };
        let digest = documents::digest_of(kind.name(), descriptor)?;
        if let Some(known) = self.known.get(&digest) {
            return Ok(*known);
        }
        let found = match kind {
            Kind::Index => self.index(digest, descriptor, depth)?,
            _ => self.manifest(descriptor)?,
        };
        self.known.insert(digest, found);
        Ok(found)
    }

    fn index(
        &mut self,
        digest: Digest,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<Option<usize>, Error> {
        if depth == 0 {
            return Err(Error::TooDeep(DEEPEST));
        }
        let (_, bytes) = self.fetch(Kind::Index, descriptor)?;
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

    fn manifest(&mut self, descriptor: &Descriptor) -> Result<Option<usize>, Error> {
        let (digest, bytes) = self.fetch(Kind::Manifest, descriptor)?;
        let what = format!("manifest {}", digest.short());
        let manifest: ImageManifest = parse(&what, &bytes)?;
        if let Err(error) = check_kind(&what, &manifest) {
            self.left_out.other.get_or_insert(error);
            return Ok(None);
        }
        let (config_digest, config) = self.fetch(Kind::Configuration, manifest.config())?;
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
        self.found.push(image);
        Ok(Some(self.found.len() - 1))
    }
}
