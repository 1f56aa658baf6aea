//! Layers that came in a compression for which OCI images have no media type: xz, bzip2.
//!
//! Other tools could not read an image with such a blob, nor registries take it. So what has no digest yet by which
//! somebody knows it (a tarball that is imported, a layer of an old docker archive) is kept as gzip instead. The
//! image's id is the same: it is made of what layers unpack to.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;

use super::durable;
use super::error::{At, Result};
use super::session::Session;
use crate::compression::Compression;
use crate::digest::{Digest, Hasher};

/// Whether blobs of this kind are kept as something else.
pub fn is_wanted(compression: Compression) -> bool {
    matches!(compression, Compression::Xz | Compression::Bzip2)
}

/// A blob that is being made. What goes wrong is told at the end.
pub struct Recompression {
    draft: PathBuf,
    encoder: Option<Result<GzEncoder<HashedFile>>>,
}

/// A blob that has been made, synced.
pub struct Recompressed {
    pub draft: PathBuf,
    pub blob: Digest,
    /// Bytes.
    pub size: u64,
}

struct HashedFile {
    file: File,
    hasher: Hasher,
}

impl Recompression {
    /// What it becomes.
    pub const COMPRESSION: Compression = Compression::Gzip;

    pub fn new(session: &Session) -> Recompression {
        Recompression { draft: session.draft("blob"), encoder: None }
    }

    /// Takes bytes of the layer, uncompressed.
    pub fn write(&mut self, bytes: &[u8]) {
        let encoder = self.encoder.get_or_insert_with(|| begin(&self.draft));
        if let Ok(open) = encoder
            && let Err(error) = open.write_all(bytes).at("writing", &self.draft)
        {
            *encoder = Err(error);
        }
    }

    /// Leaves nothing of it.
    pub fn discard(&self, session: &Session) {
        session.discard(&self.draft);
    }

    pub fn finish(self) -> Result<Recompressed> {
        let Recompression { draft, encoder } = self;
        let encoder = encoder.unwrap_or_else(|| begin(&draft))?;
        let HashedFile { file, hasher } = encoder.finish().at("writing", &draft)?;
        file.sync_data().at("syncing", &draft)?;
        Ok(Recompressed { draft, size: hasher.length(), blob: hasher.finish() })
    }
}

fn begin(draft: &Path) -> Result<GzEncoder<HashedFile>> {
    let file = HashedFile { file: durable::create(draft)?, hasher: Hasher::default() };
    // Of all levels the one that is done before xz is.
    Ok(GzEncoder::new(file, flate2::Compression::fast()))
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
