//! `vmrun pull`: an image from where its documents and layers are fetched one by one.

use std::cell::{Cell, RefCell};
use std::io::Read;

use oci_spec::image::{Descriptor, MediaType};
use serde::Deserialize;

use super::error::{Error, Result};
use super::images::{Record, find};
use super::load::build_image;
use super::names::Names;
use super::{Store, blobs, layers, names};
use crate::archive::{self, Documents, FoundLayer};
use crate::digest::Digest;
use crate::image::{ImageId, Platform};
use crate::progress::Progress;
use crate::reference::Reference;

pub type RemoteError = Box<dyn std::error::Error + Send + Sync>;

/// One repository of a registry. What it gives is checked here: digests, sizes, forms.
pub trait Remote: Sync {
    /// What a tag stands for, if that can be told without fetching it.
    fn digest(&self, tag: &str) -> std::result::Result<Option<Digest>, RemoteError>;

    /// The manifest or index of a tag or digest, at most `limit` bytes long.
    fn manifest(&self, tag_or_digest: &str, limit: u64) -> std::result::Result<RemoteManifest, RemoteError>;

    /// A small blob, at most `limit` bytes long.
    fn document(&self, digest: &Digest, limit: u64) -> std::result::Result<Vec<u8>, RemoteError>;

    /// Opens a blob of `size` bytes. Called from several threads.
    fn layer(&self, digest: &Digest, size: u64) -> std::result::Result<Box<dyn Read + '_>, RemoteError>;
}

/// A manifest or an index as it came.
#[derive(Clone, Debug)]
pub struct RemoteManifest {
    pub bytes: Vec<u8>,
    /// As it was declared; what the document says of itself comes first.
    pub media_type: Option<String>,
}

/// What came of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    pub id: ImageId,
    /// What the name stands for: the digest of a manifest, or of the index in which that was found.
    pub digest: Digest,
    /// Whether there was nothing to do.
    pub up_to_date: bool,
    /// What could not be taken as it was, one line each.
    pub warnings: Vec<String>,
}

/// Layers fetched at once: also on few processors, because a network may be the slowest.
const AT_ONCE: usize = 4;

impl Store {
    /// Adds the image that `name` stands for in `remote`, its repository. Only layers that are not here are
    /// fetched; when the name still stands for what it stood for, nothing is.
    pub fn pull(
        &self,
        remote: &dyn Remote,
        name: &Reference,
        platform: &Platform,
        progress: &dyn Progress,
    ) -> Result<Pulled> {
        let name = name.by_digest();
        let known = self.known(&name, platform)?;
        let up_to_date = |digest| known.as_ref().and_then(|known| known.stands_for(digest));
        let current = match (name.digest(), name.tag()) {
            (Some(digest), _) => Some(*digest),
            (None, Some(tag)) if known.is_some() => remote.digest(tag).map_err(Error::Remote)?,
            _ => None,
        };
        if let Some(pulled) = current.and_then(up_to_date) {
            return Ok(pulled);
        }
        let limits = &self.limits.archive;
        let wanted = match (name.digest(), name.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or_default().to_owned(),
        };
        let top = remote.manifest(&wanted, limits.document_bytes).map_err(Error::Remote)?;
        let digest = Digest::of(&top.bytes);
        if let Some(expected) = name.digest()
            && *expected != digest
        {
            let what = format!("the manifest of {name}");
            return Err(Error::BlobDigest { what, expected: *expected, actual: digest });
        }
        if let Some(pulled) = up_to_date(digest) {
            return Ok(pulled);
        }
        let media_type = MediaType::from(media_type(&name, &top)?.as_str());
        let descriptor = Descriptor::new(media_type, top.bytes.len() as u64, digest.to_oci());
        let documents = RemoteDocuments {
            remote,
            top: RefCell::new(Some((digest, top.bytes))),
            left: Cell::new(DOCUMENTS),
        };
        let found = archive::find_image(&descriptor, &documents, platform, limits)?;

        self.adding(|session| {
            let open = |layer: &FoundLayer| remote.layer(&layer.blob, layer.size).map_err(Error::Remote);
            let mut warnings = layers::ensure_all(session, &found.layers, AT_ONCE, progress, &open)?;
            warnings.splice(0..0, found.warnings.iter().cloned());
            let (id, descriptor) = build_image(session, &found)?;
            names::publish(session, &descriptor, id, std::slice::from_ref(&name), Some(&digest))?;
            Ok(Pulled { id, digest, up_to_date: false, warnings })
        })
    }

    /// The image of that name, if it is here, whole, and for that platform.
    fn known(&self, name: &Reference, platform: &Platform) -> Result<Option<Known>> {
        let images = Names::read(self)?.all(self);
        let Ok((found, _)) = find(&images, &name.full()) else {
            return Ok(None);
        };
        let fits = self.image_record(&found.id).is_ok_and(|record| {
            platform.takes(record.platform()) && self.is_complete(&found.id, &found.manifest, &record)
        });
        let known = Known { id: found.id, manifest: found.manifest, pulled: found.pulled };
        Ok(fits.then_some(known))
    }

    /// Whether everything that an image needs is here: its documents whole, all else as far as can be seen without
    /// reading it. `fsck` takes away what is damaged.
    fn is_complete(&self, id: &ImageId, manifest: &Digest, record: &Record) -> bool {
        let has_blob = |layer: &Descriptor| {
            let digest = layer.digest().to_string().parse();
            digest.is_ok_and(|digest| blobs::has(self, &digest, layer.size()))
        };
        blobs::manifest(self, manifest).is_ok_and(|manifest| manifest.layers().iter().all(has_blob))
            && blobs::document(self, &id.0).is_ok()
            && self.has_image(id)
            && record.diff_ids().all(|diff_id| self.has_layer(&diff_id))
    }
}

/// An image that is here.
struct Known {
    id: ImageId,
    manifest: Digest,
    /// What its name stood for when it was pulled.
    pulled: Option<Digest>,
}

impl Known {
    /// What a pull comes to whose name stands for `digest`, if that is this image.
    fn stands_for(&self, digest: Digest) -> Option<Pulled> {
        let is_it = digest == self.manifest || Some(digest) == self.pulled;
        is_it.then(|| Pulled { id: self.id, digest, up_to_date: true, warnings: Vec::new() })
    }
}

/// Documents fetched for one image, at most: an index may name many that turn out to be no images.
const DOCUMENTS: usize = 128;

/// The documents of a repository; the first has been fetched.
struct RemoteDocuments<'a> {
    remote: &'a dyn Remote,
    top: RefCell<Option<(Digest, Vec<u8>)>>,
    /// How many more may be fetched.
    left: Cell<usize>,
}

impl RemoteDocuments<'_> {
    fn count(&self) -> std::result::Result<(), archive::Error> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or(archive::Error::TooManyDocuments { limit: DOCUMENTS })?);
        Ok(())
    }
}

impl Documents for RemoteDocuments<'_> {
    fn blob(&self, digest: &Digest, limit: u64) -> std::result::Result<Option<Vec<u8>>, archive::Error> {
        self.count()?;
        self.remote.document(digest, limit).map(Some).map_err(archive::Error::Remote)
    }

    fn manifest(&self, digest: &Digest, limit: u64) -> std::result::Result<Option<Vec<u8>>, archive::Error> {
        if let Some((_, bytes)) = self.top.borrow_mut().take_if(|(top, _)| top == digest) {
            return Ok(Some(bytes));
        }
        self.count()?;
        let manifest = self.remote.manifest(&digest.to_string(), limit).map_err(archive::Error::Remote)?;
        Ok(Some(manifest.bytes))
    }
}

/// What a document is: it should say so itself, older ones leave it to the registry, and some to their readers.
fn media_type(name: &Reference, manifest: &RemoteManifest) -> Result<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Outline {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let outline: Outline = serde_json::from_slice(&manifest.bytes).map_err(|error| {
        let (what, reason) = (format!("the manifest of {name}"), error.to_string());
        Error::Archive(archive::Error::Malformed { what, reason })
    })?;
    let is_one = |kind: &String| kind.starts_with("application/vnd.");
    let declared = outline.media_type.or_else(|| manifest.media_type.clone().filter(is_one));
    Ok(declared.unwrap_or_else(|| match outline.manifests {
        Some(_) => MediaType::ImageIndex.to_string(),
        None => MediaType::ImageManifest.to_string(),
    }))
}
