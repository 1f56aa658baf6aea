//! An OCI image layout in a directory (OCI image-spec, image-layout.md).

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::documents::{Documents, parse};
use super::{Error, Limits};
use crate::digest::Digest;

/// A directory with `oci-layout`, `index.json` and `blobs/`. Any of its files may be a symbolic link.
pub struct Layout {
    path: PathBuf,
    /// The bytes of `index.json`.
    pub index: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    image_layout_version: String,
}

/// Sees that the `oci-layout` file is one.
pub fn check_version(bytes: Option<&[u8]>) -> Result<(), Error> {
    let bytes = bytes.ok_or_else(|| Error::Missing { what: "the layout's file oci-layout".into() })?;
    let Version { image_layout_version: version } = parse("oci-layout", bytes)?;
    match version.starts_with("1.") {
        true => Ok(()),
        false => Err(Error::LayoutVersion(super::shown(&version))),
    }
}

impl Layout {
    pub fn open(path: &Path, limits: &Limits) -> Result<Layout, Error> {
        let read = |name: &'static str| {
            read_limited(&path.join(name), limits.document_bytes)?
                .ok_or_else(|| Error::NotALayout { path: path.to_path_buf(), missing: name })
        };
        check_version(Some(&read("oci-layout")?))?;
        Ok(Layout { index: read("index.json")?, path: path.to_path_buf() })
    }

    /// Opens a layer's blob.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, Error> {
        open_regular(&self.blob_path(digest))?.ok_or_else(|| Error::Missing {
            what: format!("layer {} ({})", digest.short(), self.path.display()),
        })
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        let path = self.path.join("blobs/sha256").join(digest.hex());
        match link_text(&path) {
            Some(target) => self.path.join("blobs/sha256").join(target),
            None => path,
        }
    }
}

/// Publishers keep layouts in git with blobs as relative links, and a checkout on a file system without links
/// has files that hold the link's text instead. No blob is like that: JSON does not begin so, and a layer is
/// longer. Whatever the path leads to is checked against the digest like any blob.
fn link_text(path: &Path) -> Option<String> {
    const LONGEST: u64 = 255;
    let metadata =
        fs::metadata(path).ok().filter(|metadata| metadata.is_file() && metadata.len() <= LONGEST)?;
    let mut text = String::with_capacity(metadata.len() as usize);
    File::open(path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    (text.starts_with("../") && !text.contains(char::is_control)).then_some(text)
}

impl Documents for Layout {
    fn blob(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        read_limited(&self.blob_path(digest), limit)
    }
}

/// Opens a file that is one: a FIFO would block, a device might never end. None if there is nothing.
fn open_regular(path: &Path) -> Result<Option<File>, Error> {
    let failed = |source| Error::File { path: path.to_path_buf(), source };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => File::open(path).map(Some).map_err(failed),
        Ok(_) => Err(failed(io::Error::other("it is not a regular file"))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(failed(error)),
    }
}

fn read_limited(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    let Some(file) = open_regular(path)? else {
        return Ok(None);
    };
    let what = || path.display().to_string();
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::File { path: path.to_path_buf(), source })?;
    match bytes.len() as u64 > limit {
        true => Err(Error::DocumentTooLarge { what: what(), limit }),
        false => Ok(Some(bytes)),
    }
}
