//! Files of the store, held against their digests and against one another, and made anew.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3Default;

use crate::digest::{Digest, Hasher};
use crate::layer::table::Table;
use crate::progress::{LayerName, Silent};
use crate::store::error::{At, Result};
use crate::store::ingest::{IngestedLayer, Request, ingest};
use crate::store::pipe::read_full;
use crate::store::session::Session;
use crate::store::{blobs, durable, layers};

/// Reads a file to its end, in pieces.
fn each_piece(path: &Path, mut see: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; 256 << 10];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            length => see(&piece[..length]),
        }
    }
}

pub fn digest_file(path: &Path) -> io::Result<(Digest, u64)> {
    let mut hasher = Hasher::default();
    each_piece(path, |piece| hasher.update(piece))?;
    let length = hasher.length();
    Ok((hasher.finish(), length))
}

/// The bytes of a layer's files, or what is wrong with them.
pub fn check_layer(directory: &Path) -> std::result::Result<u64, String> {
    let unreadable = |file: &str, error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("its {file} is missing"),
        _ => format!("its {file} cannot be read: {error}"),
    };
    // The table has the data file's digest, and its own.
    let entries = fs::read(directory.join("entries")).map_err(|error| unreadable("entry table", error))?;
    let table_bytes = entries.len() as u64;
    let table = Table::parse(entries).map_err(|damage| format!("its entry table is damaged: {damage}"))?;
    let (mut digest, mut length) = (Box::new(Xxh3Default::new()), 0);
    each_piece(&directory.join("data"), |piece| {
        digest.update(piece);
        length += piece.len() as u64;
    })
    .map_err(|error| unreadable("data file", error))?;
    match (length, digest.digest128().to_be_bytes()) == (table.data_bytes(), table.data_digest()) {
        true => Ok(table_bytes + length),
        false => Err("its data file is damaged".into()),
    }
}

/// Puts each file of the layer in the place of the one that is there. They follow from the blob alone, so that old
/// and new ones fit together.
pub fn rebuild_layer(session: &Session, diff_id: &Digest, blob: &Digest, what: &str) -> Result<()> {
    let path = blobs::path(session.store, blob);
    let mut file = File::open(&path).at("opening", &path)?;
    // Not what a manifest says: that may be wrong, while the blob has its digest.
    let size = file.metadata().at("reading", &path)?.len();
    let request = Request {
        what,
        expected: Some((*blob, size)),
        keep_blob: false,
        compress: false,
        build_layer: true,
        blob_matters: true,
        name: &LayerName { index: 0, label: blob.short() },
        progress: &Silent,
    };
    let IngestedLayer { diff_id: actual, built, .. } = ingest(session, &mut file, &request)?.layer?;
    layers::check_diff_id(what, *diff_id, actual)?;
    let place = session.store.layer_directory(diff_id);
    match built {
        Some(built) if !durable::install(&built.draft, &place)? => {
            durable::replace_files(&built.draft, &place, &layers::FILES)
        }
        _ => Ok(()),
    }
}

pub fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut from_a, mut from_b) = (vec![0; 256 << 10], vec![0; 256 << 10]);
    loop {
        let length = read_full(&mut a, &mut from_a)?;
        if length != read_full(&mut b, &mut from_b)? || from_a[..length] != from_b[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
    }
}
