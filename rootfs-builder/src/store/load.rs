//! `vmrun load`: images from a layout directory or an archive.

use std::io::Read;
use std::num::NonZero;
use std::path::PathBuf;
use std::{fmt, thread};

use oci_spec::image::{Descriptor, MediaType};

use super::error::{Error, Result};
use super::layers;
use super::load_archive::load_archive;
use super::session::Session;
use super::{Store, blobs, images, names};
use crate::archive::{self, FoundImage, FoundLayer, Layout};
use crate::image::ImageId;
use crate::progress::Progress;
use crate::reference::Reference;

/// Where images come from.
pub enum LoadSource {
    /// An OCI image layout.
    Directory(PathBuf),
    /// An archive of one, or of what `docker save` writes; compressed or not. Read once, to its end.
    Archive(Box<dyn Read>),
}

impl fmt::Debug for LoadSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadSource::Directory(path) => f.debug_tuple("Directory").field(path).finish(),
            LoadSource::Archive(_) => f.write_str("Archive"),
        }
    }
}

/// An image that is in the store now, under one of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub reference: Option<Reference>,
    pub id: ImageId,
    /// What was left out or could not be taken as it was, one line each; only with the first name.
    pub warnings: Vec<String>,
}

impl Store {
    /// Adds every image of `source`. `name` is what the image is called instead of what it is called there;
    /// there must be only one then.
    pub fn load(
        &self,
        source: LoadSource,
        name: Option<&Reference>,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>> {
        let limits = &self.limits.archive;
        check_name(name)?;
        self.adding(|session| match source {
            LoadSource::Directory(path) => {
                let layout = Layout::open(&path, limits)?;
                let found = archive::find_images(&layout.index, &layout, limits)?;
                check_names(found.iter().map(|image| &image.names), name, limits)?;
                let add = |image| load_from_layout(session, &layout, image, name, progress);
                found.into_iter().map(add).collect::<Result<Vec<_>>>().map(|loaded| loaded.concat())
            }
            LoadSource::Archive(reader) => load_archive(session, reader, name, progress),
        })
    }
}

/// Digests are not given but had.
pub fn check_name(name: Option<&Reference>) -> Result<()> {
    match name {
        Some(name) if name.digest().is_some() => Err(Error::DigestInName(name.clone())),
        _ => Ok(()),
    }
}

/// Sees whether images can have the names that were found, or the one that was given instead.
pub fn check_names<'a>(
    found: impl Iterator<Item = &'a Vec<Reference>>,
    name: Option<&Reference>,
    limits: &archive::Limits,
) -> Result<()> {
    let (images, names) = found.fold((0, 0), |(images, names), more| (images + 1, names + more.len()));
    match name {
        Some(_) if images > 1 => Err(Error::SeveralImages(images)),
        None if names > limits.documents => {
            Err(archive::Error::TooManyNames { limit: limits.documents }.into())
        }
        _ => Ok(()),
    }
}

/// Several layers at once: one alone does not keep two processors busy.
fn load_from_layout(
    session: &Session,
    layout: &Layout,
    image: FoundImage,
    name: Option<&Reference>,
    progress: &dyn Progress,
) -> Result<Vec<Loaded>> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    let open = |layer: &FoundLayer| Ok(Box::new(layout.open_blob(&layer.blob)?) as Box<dyn Read>);
    let warnings = layers::ensure_all(session, &image.layers, workers, progress, &open)?;
    add_image(session, image, warnings, name)
}

/// Adds an image whose layers have been added.
pub fn add_image(
    session: &Session,
    image: FoundImage,
    layer_warnings: Vec<String>,
    name: Option<&Reference>,
) -> Result<Vec<Loaded>> {
    let (id, descriptor) = build_image(session, &image)?;
    let names = name.map_or(image.names, |name| vec![name.clone()]);
    names::publish(session, &descriptor, id, &names, None)?;

    let mut warnings = if name.is_some() { Vec::new() } else { image.warnings };
    warnings.extend(layer_warnings);
    let references = match names.is_empty() {
        true => vec![None],
        false => names.into_iter().map(Some).collect(),
    };
    let loaded = references.into_iter().map(|reference| Loaded {
        reference,
        id,
        warnings: std::mem::take(&mut warnings),
    });
    Ok(loaded.collect())
}

/// Adds an image's documents and builds its disk; its layers have been added. What is left to do is to name it.
pub fn build_image(session: &Session, image: &FoundImage) -> Result<(ImageId, Descriptor)> {
    let id = ImageId(blobs::add_document(session, &image.config)?);
    let limits = &session.store.limits.archive;
    let checked = archive::read_config("the configuration", &image.config, limits)?;
    let manifest = blobs::add_document(session, &image.manifest)?;
    images::build(session, id, &checked)?;
    let media_type = MediaType::from(image.manifest_media_type.as_str());
    Ok((id, Descriptor::new(media_type, image.manifest.len() as u64, manifest.to_oci())))
}
