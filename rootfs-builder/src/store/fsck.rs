//! `vmrun fsck`: everything in the store held against its digests, and what is damaged made anew from what is not.
//!
//! A layer's files are made again from its blob, an image's metadata and record from its layers and its
//! configuration. A blob cannot be made from anything: a damaged one is taken away, so that the next pull or load
//! of its images brings it again, and the images are named.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest};

use self::files::{check_layer, digest_file, rebuild_layer, same_content};
use super::error::{At, Error, Result};
use super::names::{Names, ref_name, salvage};
use super::session::{Session, lock};
use super::{OCI_LAYOUT, Store, blobs, disk, durable, images, names};
use crate::digest::Digest;
use crate::image::ImageId;

/// What a check of the store came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsckReport {
    pub images: usize,
    pub layers: usize,
    pub blobs: usize,
    /// Bytes that were read to find out.
    pub bytes: u64,
    pub findings: Vec<Finding>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `layer 0123456789ab`.
    pub what: String,
    /// What is wrong with it.
    pub problem: String,
    pub remedy: Remedy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It can be made anew; that was not asked for.
    Possible,
    /// It was made anew.
    Repaired,
    /// Only a pull or a load of these images, by name or id, brings it again.
    PullAgain(Vec<String>),
}

impl FsckReport {
    /// Whether something is still damaged.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.remedy != Remedy::Repaired)
    }
}

impl Store {
    /// Checks everything that a name refers to, and with `repair` makes anew what it can. `step` is told what is
    /// being looked at. Machines that run go on: their files are replaced, never changed.
    pub fn fsck(&self, repair: bool, step: &dyn Fn(&str)) -> Result<FsckReport> {
        let session = Session::begin(self)?;
        let mut check =
            Check { session: &session, repair, step, report: FsckReport::default(), is_image_lost: false };
        check.layout_file()?;
        let entries = check.names()?;
        let contents = check.documents(&entries)?;
        check.layers_and_images(&contents)?;
        let Check { report, is_image_lost, .. } = check;
        drop(session);
        // What is left of an image that nothing leads to any more is all that there is of it.
        if repair && !is_image_lost {
            self.collect()?;
        }
        Ok(report)
    }
}

/// What the documents say that there should be.
#[derive(Default)]
struct Contents {
    /// Blobs of layers, and who needs them.
    blobs: BTreeMap<Digest, Needed>,
    /// What manifests say of their sizes.
    sizes: Vec<SizeSaid>,
    /// By diff ID.
    layers: BTreeMap<Digest, Needed>,
    /// A blob that unpacks to a layer.
    sources: BTreeMap<Digest, Digest>,
    images: BTreeMap<ImageId, ImageSource>,
}

/// What a manifest says of a blob's size.
struct SizeSaid {
    blob: Digest,
    size: u64,
    /// The image whose manifest it is.
    name: String,
}

/// What an image's files are made from.
struct ImageSource {
    config: ImageConfiguration,
    diff_ids: Vec<Digest>,
    needed: Needed,
}

/// The images that need something, as their users call them.
type Needed = BTreeSet<String>;

struct Check<'a> {
    session: &'a Session<'a>,
    repair: bool,
    step: &'a dyn Fn(&str),
    report: FsckReport,
    /// There are files of an image that has no manifest any more.
    is_image_lost: bool,
}

impl Check<'_> {
    fn store(&self) -> &Store {
        self.session.store
    }

    fn found(&mut self, what: String, problem: String, remedy: Remedy) {
        self.report.findings.push(Finding { what, problem, remedy });
    }

    /// What cannot be made anew.
    fn lost(&mut self, what: String, problem: String, needed: &Needed) {
        self.found(what, problem, Remedy::PullAgain(needed.iter().cloned().collect()));
    }

    /// What can be made anew was, or could be.
    fn mended(&self) -> Remedy {
        if self.repair { Remedy::Repaired } else { Remedy::Possible }
    }

    fn layout_file(&mut self) -> Result<()> {
        let path = self.store().root.join("oci/oci-layout");
        if fs::read(&path).is_ok_and(|bytes| bytes == OCI_LAYOUT) {
            return Ok(());
        }
        if self.repair {
            durable::replace(&path, &self.session.draft("layout"), OCI_LAYOUT)?;
        }
        self.found("oci/oci-layout".into(), "it is not what it should be".into(), self.mended());
        Ok(())
    }

    /// The entries of the index. One that cannot be read is made anew from the manifests that are there: the
    /// images are kept, but their names are lost.
    fn names(&mut self) -> Result<Vec<Descriptor>> {
        match Names::read(self.store()) {
            Ok(names) => Ok(names.descriptors().to_vec()),
            Err(Error::Damaged { reason, .. }) => {
                let entries = if self.repair { salvage(self.session)? } else { Vec::new() };
                let problem = format!("{reason}; the images' names are lost, the images are not");
                self.found("oci/index.json".into(), problem, self.mended());
                self.lost_images()?;
                Ok(entries)
            }
            Err(error) => Err(error),
        }
    }

    /// Images that have no entry in an index that was made anew: without a manifest there is none.
    fn lost_images(&mut self) -> Result<()> {
        if !self.repair {
            return Ok(());
        }
        let kept: BTreeSet<ImageId> =
            Names::read(self.store())?.all(self.store()).iter().map(|named| named.id).collect();
        for id in names::images_on_disk(self.store())?.into_iter().filter(|id| !kept.contains(id)) {
            self.is_image_lost = true;
            let problem = "its manifest is lost, too".to_owned();
            self.found(format!("image {}", id.short()), problem, Remedy::PullAgain(vec![id.to_string()]));
        }
        Ok(())
    }

    /// Reads the manifests and configurations.
    fn documents(&mut self, entries: &[Descriptor]) -> Result<Contents> {
        let mut contents = Contents::default();
        for entry in entries {
            let name = ref_name(entry).cloned().unwrap_or_else(|| entry.digest().to_string());
            (self.step)(&name);
            let Some(manifest) = self.document::<ImageManifest>("manifest", entry, &name)? else { continue };
            for layer in manifest.layers() {
                if let Some(blob) = digest_of(layer) {
                    contents.blobs.entry(blob).or_default().insert(name.clone());
                    contents.sizes.push(SizeSaid { blob, size: layer.size(), name: name.clone() });
                }
            }
            let Some(config) =
                self.document::<ImageConfiguration>("configuration", manifest.config(), &name)?
            else {
                continue;
            };
            let Some(id) = digest_of(manifest.config()).map(ImageId) else { continue };
            let diff_ids: Vec<Digest> =
                config.rootfs().diff_ids().iter().filter_map(|text| text.parse().ok()).collect();
            // Other tools may have put an image here that was never built.
            if !self.store().image_directory(&id).exists() && names::built_as(entry) != Some(id) {
                continue;
            }
            for (diff_id, layer) in diff_ids.iter().zip(manifest.layers()) {
                contents.layers.entry(*diff_id).or_default().insert(name.clone());
                if let Some(blob) = digest_of(layer) {
                    contents.sources.insert(*diff_id, blob);
                }
            }
            let image = ImageSource { config, diff_ids, needed: Needed::new() };
            contents.images.entry(id).or_insert(image).needed.insert(name);
        }
        Ok(contents)
    }

    /// A document that should be in the store, if it is there and whole.
    fn document<T: serde::de::DeserializeOwned>(
        &mut self,
        kind: &str,
        descriptor: &Descriptor,
        name: &str,
    ) -> Result<Option<T>> {
        let Some(digest) = digest_of(descriptor) else { return Ok(None) };
        let needed = Needed::from([name.to_owned()]);
        match self.blob(&digest, kind, &needed)? {
            true => Ok(serde_json::from_slice(&blobs::document(self.store(), &digest)?).ok()),
            false => Ok(None),
        }
    }

    /// Whether a blob is whole. One that is not is taken away.
    fn blob(&mut self, digest: &Digest, kind: &str, needed: &Needed) -> Result<bool> {
        let path = blobs::path(self.store(), digest);
        let problem = match digest_file(&path) {
            Ok((actual, length)) => {
                self.report.blobs += 1;
                self.report.bytes += length;
                if actual == *digest {
                    return Ok(true);
                }
                format!("its content has the digest {actual}")
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => "it is missing".into(),
            Err(error) => format!("it cannot be read: {error}"),
        };
        if self.repair {
            self.session.remove(&path)?;
        }
        self.lost(format!("{kind} {}", digest.short()), problem, needed);
        Ok(false)
    }

    fn layers_and_images(&mut self, contents: &Contents) -> Result<()> {
        let mut whole_blobs = BTreeSet::new();
        for (digest, needed) in &contents.blobs {
            (self.step)(&format!("blob {}", digest.short()));
            if self.blob(digest, "the blob of a layer,", needed)? {
                whole_blobs.insert(*digest);
            }
        }
        // Such an image runs, but nobody else takes it.
        for SizeSaid { blob, size, name } in &contents.sizes {
            if whole_blobs.contains(blob) && !blobs::has(self.store(), blob, *size) {
                let problem =
                    format!("it says {size} bytes of layer {}, which has another size", blob.short());
                self.lost(format!("the manifest of {name}"), problem, &Needed::from([name.clone()]));
            }
        }
        let mut lost_layers = BTreeSet::new();
        for (diff_id, needed) in &contents.layers {
            (self.step)(&format!("layer {}", diff_id.short()));
            let source = contents.sources.get(diff_id).filter(|blob| whole_blobs.contains(blob));
            if !self.layer(diff_id, source, needed)? {
                lost_layers.insert(*diff_id);
            }
        }
        for (id, image) in &contents.images {
            if !image.diff_ids.iter().any(|diff_id| lost_layers.contains(diff_id)) {
                (self.step)(&format!("image {}", id.short()));
                self.image(id, image)?;
            }
        }
        Ok(())
    }

    /// Whether a layer's files are whole now, or could be made so.
    fn layer(&mut self, diff_id: &Digest, source: Option<&Digest>, needed: &Needed) -> Result<bool> {
        let directory = self.store().layer_directory(diff_id);
        let _lock = lock(&self.store().lock_path(&format!("layer-{}", diff_id.hex())))?;
        let problem = match check_layer(&directory) {
            Ok(length) => {
                self.report.layers += 1;
                self.report.bytes += length;
                return Ok(true);
            }
            Err(problem) => problem,
        };
        let what = format!("layer {}", diff_id.short());
        let made = match (source, self.repair) {
            (None, _) => Err(problem.clone()),
            (Some(_), false) => Ok(()),
            (Some(blob), true) => unless_of_disk(rebuild_layer(self.session, diff_id, blob, &what))?
                .map_err(|error| format!("{problem}, and it cannot be made anew: {error}")),
        };
        match made {
            Ok(()) => self.found(what, problem, self.mended()),
            Err(problem) => {
                if self.repair {
                    self.session.remove(&directory)?;
                }
                self.lost(what, problem, needed);
                return Ok(false);
            }
        }
        Ok(self.repair)
    }

    fn image(&mut self, id: &ImageId, image: &ImageSource) -> Result<()> {
        let what = format!("image {}", id.short());
        match unless_of_disk(self.compare_image(id, image, &what))? {
            Ok(()) => {}
            Err(error) => self.lost(what, format!("it cannot be made: {error}"), &image.needed),
        }
        Ok(())
    }

    /// Builds an image's files again and compares.
    fn compare_image(&mut self, id: &ImageId, image: &ImageSource, what: &str) -> Result<()> {
        let place = self.store().image_directory(id);
        let diff_ids = &image.diff_ids;
        let draft = images::build_draft(self.session, *id, &image.config, diff_ids)?;
        self.report.images += 1;
        if !place.exists() {
            if self.repair {
                durable::install(&draft, &place)?;
                place.parent().map_or(Ok(()), durable::sync_directory)?;
            }
            self.found(what.to_owned(), "its directory is missing".into(), self.mended());
            return Ok(());
        }
        let mut files = vec![("metadata", draft.join("metadata")), ("image.json", draft.join("image.json"))];
        // Few images have been wanted as ext4.
        if place.join(disk::EXT4).exists() {
            let lengths = diff_ids.iter().map(|diff_id| Ok((*diff_id, self.store().data_length(diff_id)?)));
            let layers = lengths.collect::<Result<Vec<_>>>()?;
            files.push((disk::EXT4, disk::ext4_draft(self.session, *id, layers.into_iter())?.0));
        }
        for (file, new) in files {
            let old = place.join(file);
            let problem = match same_content(&new, &old) {
                Ok(true) => continue,
                Ok(false) => "it is not what its layers and its configuration make".into(),
                Err(error) => format!("it cannot be read: {error}"),
            };
            if self.repair {
                fs::rename(&new, &old).at("replacing", &old)?;
                durable::sync_directory(&place)?;
            }
            self.found(format!("the {file} of {what}"), problem, self.mended());
        }
        Ok(())
    }
}

/// What went wrong with one thing, apart from what is wrong with the store's file system and ends the check.
fn unless_of_disk<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(error @ (Error::Full(_) | Error::Io { .. })) => Err(error),
        other => Ok(other),
    }
}

fn digest_of(descriptor: &Descriptor) -> Option<Digest> {
    descriptor.digest().to_string().parse().ok()
}
