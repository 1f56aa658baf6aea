//! Kernels that are in images: `image:NAME`, `oci:DIRECTORY`, `oci-archive:FILE`, `docker-archive:FILE`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use kernels::{Entry, EntryKind, FileTree, Origin, Source};
use rootfs_builder::layer::FileType;
use rootfs_builder::store::{Error, Image, ImageFiles, LoadSource, Store};

use super::pull;
use crate::home::Home;
use crate::progress::LayerBars;

/// What a source is by what it begins with, as skopeo has it.
const TRANSPORTS: [&str; 5] = ["image:", "docker://", "oci:", "oci-archive:", "docker-archive:"];

/// A source of a kernel: a path, or an image. What is a path stays one, whatever it is called.
pub fn source(home: &Home, text: &OsString) -> Result<Source> {
    let found = TRANSPORTS.iter().find_map(|transport| {
        let rest = text.as_bytes().strip_prefix(transport.as_bytes())?;
        Some((*transport, OsString::from_vec(rest.to_vec())))
    });
    let is_path = Path::new(text).exists();
    if !is_path && text.as_bytes().starts_with(b"debian:") {
        bail!("{0} is to be had from Debian's archive: `vmrun kernel pull {0}`", text.display());
    }
    let Some((transport, place)) = found.filter(|_| !is_path) else { return Ok(Source::from(text)) };
    if place.is_empty() {
        bail!("{transport} is to be followed by an image's name, or its file");
    }
    let images = home.images()?;
    let image = match transport {
        "image:" | "docker://" => named(&images, &place)?,
        "oci:" => loaded(&images, LoadSource::Directory(place.into()))?,
        _ => {
            let file = File::open(&place).with_context(|| format!("cannot open {}", place.display()))?;
            loaded(&images, LoadSource::Archive(Box::new(file)))?
        }
    };
    let origin = Origin {
        address: format!("{} ({})", text.display(), image.id()),
        signature: format!(
            "none; the manifest {} and its layers have the digests that they are named by",
            image.manifest()
        ),
    };
    let tree = ImageTree { files: images.files(&image)?, _image: image };
    Ok(Source { path: text.into(), origin: Some(origin), tree: Some(Arc::new(tree)) })
}

/// An image of the store; one that is not there is pulled.
fn named(images: &Store, name: &OsString) -> Result<Image> {
    let Some(name) = name.to_str() else { bail!("{} is no image's name", name.display()) };
    match images.resolve(name) {
        Err(Error::NotFound(_)) => {
            pull::before_run(images, name)?;
            Ok(images.resolve(name)?)
        }
        image => Ok(image?),
    }
}

/// The only image of a layout or archive, which is in the store then.
fn loaded(images: &Store, source: LoadSource) -> Result<Image> {
    let loaded = images.load(source, None, &LayerBars::new(false))?;
    match loaded.as_slice() {
        [] => bail!("there is no image in it"),
        [first, rest @ ..] if rest.iter().all(|other| other.id == first.id) => {
            Ok(images.resolve(&first.id.to_string())?)
        }
        _ => bail!("there are several images in it: load them, and name one by image:NAME"),
    }
}

/// An image's files, and the image, which cannot be removed as long.
struct ImageTree {
    files: ImageFiles,
    _image: Image,
}

impl std::fmt::Debug for ImageTree {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.files.fmt(to)
    }
}

impl FileTree for ImageTree {
    fn entries(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let entries = self.files.entries(directory.as_os_str().as_bytes()).into_iter();
        let kind = |kind| match kind {
            FileType::Directory => EntryKind::Directory,
            FileType::File => EntryKind::File,
            _ => EntryKind::Other,
        };
        Ok(entries
            .map(|(name, file)| Entry { name: OsString::from_vec(name.to_vec()), kind: kind(file) })
            .collect())
    }

    fn open(&self, file: &Path) -> io::Result<Option<Box<dyn Read + '_>>> {
        let file = self.files.open(file.as_os_str().as_bytes())?;
        Ok(file.map(|file| Box::new(file) as Box<dyn Read>))
    }
}
