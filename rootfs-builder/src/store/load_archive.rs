//! Images from an archive that comes as a stream.
//!
//! The documents that tell layers from other things may come after them, so what could be a layer is built as it
//! passes by, and thrown away if no image wants it. Nothing is read twice.

use std::io::Read;

use super::error::{Error, Result};
use super::ingest::{Ingested, Request, check, ingest};
use super::layers::{self, Added};
use super::load::{Loaded, add_image, check_names};
use super::manifest::manifest_of;
use super::session::Session;
use crate::archive::{self, Contents, DockerImage, FoundImage};
use crate::digest::Digest;
use crate::progress::{LayerName, LayerOutcome, Progress};
use crate::reference::Reference;

/// A large entry of the archive.
enum Candidate {
    /// In drafts, or in the store already; not yet known whether an image wants it.
    Read(Box<Ingested>),
    Added(Added),
    /// It was wanted, and something is wrong with it: the load has failed.
    Failed,
}

struct Archive<'a> {
    session: &'a Session<'a>,
    contents: Contents<Candidate>,
    candidates: Candidates<'a>,
}

/// Reads what could be a layer.
struct Candidates<'a> {
    session: &'a Session<'a>,
    progress: &'a dyn Progress,
    /// Layers spoken of so far.
    count: usize,
    /// Bytes that may yet be unpacked.
    left: u64,
}

pub fn load_archive(
    session: &Session,
    reader: Box<dyn Read>,
    name: Option<&Reference>,
    progress: &dyn Progress,
) -> Result<Vec<Loaded>> {
    let limits = &session.store.limits.archive;
    let mut candidates = Candidates { session, progress, count: 0, left: limits.archive_bytes };
    let contents = archive::read(reader, limits, |path, size, source| candidates.read(path, size, source))?;
    let mut archive = Archive { session, contents, candidates };

    let document = |path| archive.contents.document(path).map(<[u8]>::to_vec);
    let loaded: Vec<Vec<Loaded>> = match (document("index.json"), document("manifest.json")) {
        (Some(index), docker) => {
            archive::check_layout_version(document("oci-layout").as_deref())?;
            let mut found = archive::find_images(&index, &archive.contents, limits)?;
            if let Some(docker) = docker {
                archive.add_docker_names(&docker, &mut found);
            }
            check_names(found.iter().map(|image| &image.names), name, limits)?;
            found.into_iter().map(|image| archive.add_oci(image, name)).collect::<Result<_>>()?
        }
        (None, Some(docker)) => {
            let found = archive::docker_images(&docker, |path| archive.contents.document(path), limits)?;
            check_names(found.iter().map(|image| &image.names), name, limits)?;
            found.into_iter().map(|image| archive.add_docker(image, name)).collect::<Result<_>>()?
        }
        (None, None) => return Err(archive.contents.why_no_image().into()),
    };
    Ok(loaded.concat())
}

/// The last parts of a path that tell layers apart: `<id>/layer.tar` or a digest.
fn label(path: &str) -> String {
    let name = path.strip_suffix("/layer.tar").unwrap_or(path);
    name.rsplit('/').next().unwrap_or(name).chars().take(12).collect()
}

/// An OCI layout names its blobs by their digests.
fn digest_in(path: &str) -> Option<Digest> {
    Digest::from_hex(path.strip_prefix("blobs/sha256/")?).ok()
}

impl Candidates<'_> {
    fn read(&mut self, path: &str, size: u64, source: &mut dyn Read) -> Result<Candidate> {
        let Candidates { session, progress, .. } = *self;
        let name = &LayerName { index: self.count, label: label(path) };
        self.count += 1;
        let what = format!("layer {}", name.label);
        let limit = session.store.limits.layer_bytes;
        if size > limit {
            return Err(Error::TooLarge { what, limit });
        }
        progress.layer_started(name, Some(size));
        let digest = digest_in(path);
        let known = digest.and_then(|digest| session.store.known_diff_id(&digest, size));
        let request = Request {
            what: &what,
            expected: digest.map(|digest| (digest, size)),
            keep_blob: known.is_none(),
            compress: false,
            build_layer: known.is_none(),
            blob_matters: true,
            name,
            progress,
        };
        if let Some(diff_id) = known {
            let (blob, size) = check(session, source, &request)?;
            progress.layer_finished(name, LayerOutcome::AlreadyHere);
            return Added::known(session.store, blob, size, diff_id).map(Candidate::Added);
        }
        let ingested = ingest(session, source, &request);
        let built = matches!(&ingested, Ok(Ingested { layer: Ok(_), .. }));
        progress.layer_finished(name, if built { LayerOutcome::Built } else { LayerOutcome::Failed });
        let ingested = ingested?;
        let limit = session.store.limits.archive.archive_bytes;
        match (self.left.checked_sub(ingested.unpacked), ingested) {
            (None, _) => Err(Error::ArchiveTooLarge { limit }),
            // No archive of images has one, wanted or not.
            (_, Ingested { layer: Err(error @ Error::TooLarge { .. }), .. }) => Err(error),
            (Some(left), ingested) => {
                self.left = left;
                Ok(Candidate::Read(Box::new(ingested)))
            }
        }
    }
}

impl Archive<'_> {
    /// Docker's own list knows the full names where the index has only tags.
    fn add_docker_names(&self, docker: &[u8], found: &mut [FoundImage]) {
        let limits = &self.session.store.limits.archive;
        let listed = archive::docker_images(docker, |path| self.contents.document(path), limits);
        for image in listed.unwrap_or_default() {
            let config = self.contents.document(&image.config_path);
            for found in found.iter_mut().filter(|found| config == Some(&found.config)) {
                if found.names.is_empty() {
                    found.names.clone_from(&image.names);
                    found.warnings.clear();
                }
            }
        }
    }

    fn add_oci(&mut self, image: FoundImage, name: Option<&Reference>) -> Result<Vec<Loaded>> {
        let mut warnings = Vec::new();
        for layer in &image.layers {
            let path = archive::blob_path(&layer.blob);
            let added = match self.session.store.known_diff_id(&layer.blob, layer.size) {
                Some(diff_id) => Added::known(self.session.store, layer.blob, layer.size, diff_id)?,
                None => self.add_layer(&path, layer.diff_id)?,
            };
            layers::check_diff_id(&format!("layer {}", layer.blob.short()), layer.diff_id, added.diff_id)?;
            layers::check_size(&layer.blob, layer.size, added.size)?;
            warnings.extend(added.warnings);
        }
        add_image(self.session, image, warnings, name)
    }

    fn add_docker(&mut self, image: DockerImage, name: Option<&Reference>) -> Result<Vec<Loaded>> {
        let mut warnings = image.warnings;
        let mut layers = Vec::new();
        for (path, diff_id) in image.layers.iter().zip(&image.diff_ids) {
            let mut added = self.add_layer(path, *diff_id)?;
            layers::check_diff_id(&format!("layer {path}"), *diff_id, added.diff_id)?;
            warnings.append(&mut added.warnings);
            layers.push(added);
        }
        let config = self.contents.document(&image.config_path).unwrap_or_default().to_vec();
        let found = manifest_of(config, &layers, image.names, warnings)?;
        add_image(self.session, found, Vec::new(), name)
    }

    /// Puts the layer at `path` into the store, if it is not there by now.
    fn add_layer(&mut self, path: &str, diff_id: Digest) -> Result<Added> {
        let path = self.contents.resolved(path).to_owned();
        let what = format!("layer {}", label(&path));
        if self.contents.large_mut(&path).is_none() {
            self.read_small(&path, &what)?;
        }
        let missing = || archive::Error::Missing { what: what.clone() };
        let candidate = self.contents.large_mut(&path).ok_or_else(missing)?;
        match std::mem::replace(candidate, Candidate::Failed) {
            Candidate::Read(ingested) => {
                let mut added = layers::add(self.session, *ingested, Some(diff_id), &what)?;
                let warnings = std::mem::take(&mut added.warnings);
                *candidate = Candidate::Added(added.clone());
                Ok(Added { warnings, ..added })
            }
            Candidate::Added(added) => {
                *candidate = Candidate::Added(added.clone());
                Ok(added)
            }
            Candidate::Failed => Err(missing().into()),
        }
    }

    /// A layer so small that it was kept as if it were a document.
    fn read_small(&mut self, path: &str, what: &str) -> Result<()> {
        let missing = || Error::from(archive::Error::Missing { what: what.to_owned() });
        let bytes = self.contents.document(path).ok_or_else(missing)?.to_vec();
        let candidate = self.candidates.read(path, bytes.len() as u64, &mut bytes.as_slice())?;
        self.contents.insert_large(path, candidate);
        Ok(())
    }
}
