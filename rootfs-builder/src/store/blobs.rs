//! The blobs of the store: `oci/blobs/sha256/<digest>`, as the OCI image layout has them.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use oci_spec::image::ImageManifest;

use super::error::{At, Error, Result};
use super::session::Session;
use super::{Store, durable};
use crate::digest::Digest;

pub fn path(store: &Store, digest: &Digest) -> PathBuf {
    store.root.join("oci/blobs/sha256").join(digest.hex())
}

/// Whether a blob is here and has that size.
pub fn has(store: &Store, digest: &Digest, size: u64) -> bool {
    fs::metadata(path(store, digest)).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}

/// Adds a small document, synced. One that is here and damaged is replaced.
pub fn add_document(session: &Session, bytes: &[u8]) -> Result<Digest> {
    let digest = Digest::of(bytes);
    let place = path(session.store, &digest);
    if has(session.store, &digest, bytes.len() as u64)
        && fs::read(&place).is_ok_and(|present| present == bytes)
    {
        return Ok(digest);
    }
    let draft = session.draft("document");
    let mut file = durable::create(&draft)?;
    file.write_all(bytes).and_then(|()| file.sync_data()).at("writing", &draft)?;
    fs::rename(&draft, &place).at("creating", &place)?;
    Ok(digest)
}

/// Reads a document back and checks it.
pub fn document(store: &Store, digest: &Digest) -> Result<Vec<u8>> {
    let path = path(store, digest);
    let bytes = fs::read(&path).at("reading", &path)?;
    let actual = Digest::of(&bytes);
    match actual == *digest {
        true => Ok(bytes),
        false => Err(Error::Damaged { path, reason: format!("its content has the digest {actual}") }),
    }
}

/// Reads an image's manifest back.
pub fn manifest(store: &Store, digest: &Digest) -> Result<ImageManifest> {
    serde_json::from_slice(&document(store, digest)?)
        .map_err(|error| Error::Damaged { path: path(store, digest), reason: error.to_string() })
}
