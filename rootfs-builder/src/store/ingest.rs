//! One pass over a layer's bytes: blob, both digests, data file and entry table.
//!
//! Three threads, with pipes between them, because unpacking alone takes about as long as all the rest:
//!
//! - the caller's reads the source, writes the blob's draft and computes the blob's digest;
//! - the second decompresses;
//! - the third computes the diff ID, builds the layer, and compresses anew what came as xz or bzip2.
//!
//! Each syncs what it wrote when it has come to its end, while the others still work.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;

use super::durable::{self, WriteBack};
use super::error::{At, Error, Result, disk_full};
use super::pipe::{PipeReader, PipeWriter, pipe, read_full};
use super::recompress::{self, Recompression};
use super::session::Session;
use crate::compression::Compression;
use crate::digest::{Digest, Hasher};
use crate::layer::{self, LayerSummary};
use crate::progress::{LayerName, Progress};

/// What is known of a blob before it is read.
pub struct Request<'a> {
    /// How messages call it.
    pub what: &'a str,
    /// Its digest and size, when they are known.
    pub expected: Option<(Digest, u64)>,
    /// Whether to keep the blob; not when the store has it.
    pub keep_blob: bool,
    /// Whether to keep it compressed if it comes without compression.
    pub compress: bool,
    /// Whether to build the layer; not when the store has it. Its digest is computed all the same.
    pub build_layer: bool,
    /// Whether the blob is wanted even if it turns out to be no layer.
    pub blob_matters: bool,
    pub name: &'a LayerName,
    pub progress: &'a dyn Progress,
}

/// What became of a blob.
pub struct Ingested {
    pub blob: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// Its draft, synced, if it was to be kept and is a layer.
    pub draft: Option<PathBuf>,
    /// Bytes that came out of it, whether they are a layer or not.
    pub unpacked: u64,
    pub layer: Result<IngestedLayer>,
}

pub struct IngestedLayer {
    pub compression: Compression,
    pub diff_id: Digest,
    /// Synced, if it was to be built.
    pub built: Option<BuiltLayer>,
}

/// A directory with `data` and `entries`, synced.
pub struct BuiltLayer {
    pub draft: PathBuf,
    pub summary: LayerSummary,
}

/// Reads `source` to its end.
pub fn ingest(session: &Session, source: &mut dyn Read, request: &Request) -> Result<Ingested> {
    let limit = session.store.limits.layer_bytes;
    let mut hasher = Hasher::default();
    let (compressed_in, compressed_out) = pipe(|_| {});
    let detected = OnceLock::new();
    let mut recompression = Recompression::new(session);
    let mut unpacked_bytes = 0;
    let (tar_in, tar_out) = pipe(|block| {
        unpacked_bytes += block.len() as u64;
        let Some(&compression) = detected.get() else { return };
        // An uncompressed layer's digest is its diff ID.
        if compression != Compression::None {
            hasher.update(block);
        }
        if is_recompressed(request, compression) {
            recompression.write(block);
        }
    });

    let (copied, unpacked, built) = thread::scope(|scope| {
        let unpacking = scope.spawn(|| unpack(compressed_out, tar_in, limit, &detected));
        let building = scope.spawn(|| build(session, tar_out, request.build_layer));
        let copied = copy(session, source, Some(compressed_in), request);
        (copied, joined(unpacking.join()), joined(building.join()))
    });

    let (mut blob, mut size, mut draft) = copied?;
    let what = || request.what.to_owned();
    // An archive may have many that are none: each takes its space only as long as it is read.
    if built.is_err() || !matches!(unpacked, Ok(Some(_))) {
        recompression.discard(session);
        let built = built.as_ref().ok().and_then(Option::as_ref).map(|built| &built.draft);
        for draft in draft.take().iter().chain(built) {
            session.discard(draft);
        }
    }
    // What comes later in the chain fails because of what came before it, but for a disk that is full.
    let layer = match (unpacked, built) {
        (_, Err(BuildFailure::Store(error))) => return Err(error),
        (Ok(None), _) => Err(Error::Empty { what: what() }),
        (Err(UnpackFailure::TooLarge), _) => Err(Error::TooLarge { what: what(), limit }),
        (Err(UnpackFailure::Compression(compression, source)), _) => {
            Err(Error::Compression { what: what(), compression: compression.name(), source })
        }
        (_, Err(BuildFailure::Layer(source))) => Err(Error::Layer { what: what(), source }),
        (Ok(Some(mut compression)), Ok(built)) => {
            let diff_id = if compression == Compression::None { blob } else { hasher.finish() };
            if request.keep_blob && draft.is_none() && !is_recompressed(request, compression) {
                // Its end was there before the end of the blob.
                let source = io::Error::new(io::ErrorKind::InvalidData, "bytes follow its end");
                return Err(Error::Compression { what: what(), compression: compression.name(), source });
            }
            if is_recompressed(request, compression) {
                let made = recompression.finish()?;
                (blob, size, draft) = (made.blob, made.size, Some(made.draft));
                compression = Recompression::COMPRESSION;
            }
            Ok(IngestedLayer { compression, diff_id, built })
        }
        (Err(UnpackFailure::NobodyReads), Ok(_)) => Err(Error::Layer {
            what: what(),
            source: layer::Error::Read(io::Error::from(io::ErrorKind::UnexpectedEof)),
        }),
    };
    Ok(Ingested { blob, size, draft, unpacked: unpacked_bytes, layer })
}

/// Reads `source` to its end for nothing but its digest and size.
pub fn check(session: &Session, source: &mut dyn Read, request: &Request) -> Result<(Digest, u64)> {
    copy(session, source, None, request).map(|(digest, size, _)| (digest, size))
}

fn joined<T>(result: thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The first thread: from the source to the blob's draft and on.
fn copy(
    session: &Session,
    source: &mut dyn Read,
    mut onward: Option<PipeWriter>,
    request: &Request,
) -> Result<(Digest, u64, Option<PathBuf>)> {
    let mut draft = request.keep_blob.then(|| session.draft("blob"));
    let mut file = draft.as_deref().map(durable::create).transpose()?;
    let mut hasher = Hasher::default();
    let mut own_buffer = Vec::new();
    let mut write_back = WriteBack::default();

    loop {
        // Without a reader of the layer (it failed, and will say why) the blob is still copied and checked: if
        // it is damaged, that is what has to be said.
        let mut buffer = match onward.as_mut().map(PipeWriter::buffer) {
            Some(Ok(buffer)) => buffer,
            _ if !request.blob_matters => return Ok((hasher.clone().finish(), hasher.length(), None)),
            _ => {
                // Not written any more: nobody wants it.
                if onward.take().is_some() {
                    file = None;
                    draft.take().iter().for_each(|draft| session.discard(draft));
                }
                own_buffer.resize(super::pipe::BLOCK, 0);
                std::mem::take(&mut own_buffer)
            }
        };
        let length = read_full(source, &mut buffer)
            .map_err(|source| Error::Input { what: request.what.to_owned(), source })?;
        if length == 0 {
            break;
        }
        if hasher.length() == 0 && is_recompressed(request, Compression::detect(&buffer[..length])) {
            (file, draft) = (None, None);
        }
        hasher.update(&buffer[..length]);
        if let (Some(file), Some(draft)) = (&mut file, &draft) {
            file.write_all(&buffer[..length]).at("writing", draft)?;
            write_back.wrote(length, file);
        }
        match request.expected {
            Some((_, size)) if hasher.length() > size => break,
            _ => request.progress.layer_advanced(request.name, hasher.length()),
        }
        match &mut onward {
            Some(pipe) => {
                let _ = pipe.send(buffer, length);
            }
            None => own_buffer = buffer,
        }
    }

    let (size, blob) = (hasher.length(), hasher.finish());
    if let Some((expected, expected_size)) = request.expected {
        if size != expected_size {
            return Err(Error::BlobSize { what: request.what.into(), expected: expected_size, actual: size });
        }
        if blob != expected {
            return Err(Error::BlobDigest { what: request.what.into(), expected, actual: blob });
        }
    }
    if let Some(pipe) = onward {
        let _ = pipe.finish();
    }
    if let (Some(file), Some(draft)) = (&file, &draft) {
        file.sync_data().at("syncing", draft)?;
    }
    Ok((blob, size, draft))
}

/// Whether another blob is kept in its stead: not if somebody knows it by its digest.
fn is_recompressed(request: &Request, compression: Compression) -> bool {
    let is_wanted =
        recompress::is_wanted(compression) || (request.compress && compression == Compression::None);
    request.keep_blob && request.expected.is_none() && is_wanted
}

enum UnpackFailure {
    Compression(Compression, io::Error),
    TooLarge,
    /// The builder has given up, and says why.
    NobodyReads,
}

/// The second thread: decompression. None when there was not a single byte.
fn unpack(
    mut compressed: PipeReader,
    mut tar: PipeWriter,
    limit: u64,
    detected: &OnceLock<Compression>,
) -> std::result::Result<Option<Compression>, UnpackFailure> {
    let first = compressed.fill_buf().map_err(|_| UnpackFailure::NobodyReads)?;
    if first.is_empty() {
        return Ok(None);
    }
    let compression = Compression::detect(first);
    let _ = detected.set(compression);
    let failed = |error: io::Error| UnpackFailure::Compression(compression, error);

    let mut decoder = compression.decoder(compressed).map_err(failed)?;
    let mut total = 0u64;
    loop {
        let mut buffer = tar.buffer().map_err(|_| UnpackFailure::NobodyReads)?;
        let length = read_full(&mut *decoder, &mut buffer).map_err(failed)?;
        if length == 0 {
            break;
        }
        total += length as u64;
        if total > limit {
            return Err(UnpackFailure::TooLarge);
        }
        tar.send(buffer, length).map_err(|_| UnpackFailure::NobodyReads)?;
    }
    let _ = tar.finish();
    Ok(Some(compression))
}

/// A layer's tar on its way to the builder, who writes about as many bytes as it reads.
struct WritingBack<'a, 'b> {
    tar: &'a mut PipeReader<'b>,
    data: &'a File,
    write_back: WriteBack,
}

impl BufRead for WritingBack<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.tar.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.tar.consume(amount);
        self.write_back.wrote(amount, self.data);
    }
}

impl Read for WritingBack<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.tar.read(out)?;
        self.write_back.wrote(n, self.data);
        Ok(n)
    }
}

enum BuildFailure {
    Layer(layer::Error),
    Store(Error),
}

impl From<Error> for BuildFailure {
    fn from(error: Error) -> BuildFailure {
        BuildFailure::Store(error)
    }
}

/// The third thread: the diff ID, which the pipe computes, and the layer's files.
fn build(
    session: &Session,
    mut tar: PipeReader,
    wanted: bool,
) -> std::result::Result<Option<BuiltLayer>, BuildFailure> {
    if !wanted {
        return match tar.drain() {
            Ok(()) => Ok(None),
            Err(error) => Err(BuildFailure::Layer(layer::Error::Read(error))),
        };
    }
    let draft = session.draft("layer");
    let built = build_in(session, &mut tar, &draft);
    if built.is_err() {
        session.discard(&draft);
    }
    built.map(|summary| Some(BuiltLayer { draft, summary }))
}

/// Writes a layer's files, synced, into a directory.
fn build_in(
    session: &Session,
    tar: &mut PipeReader,
    draft: &Path,
) -> std::result::Result<LayerSummary, BuildFailure> {
    std::fs::create_dir(draft).at("creating", draft)?;
    let (data_path, entries_path) = (draft.join("data"), draft.join("entries"));
    let data = durable::create(&data_path)?;
    let entries = durable::create(&entries_path)?;
    let duplicate = |file: &File, path: &Path| file.try_clone().at("opening", path);

    let summary = layer::build_buffered(
        &mut WritingBack { tar: &mut *tar, data: &data, write_back: WriteBack::default() },
        duplicate(&data, &data_path)?,
        duplicate(&entries, &entries_path)?,
        &session.store.limits.layer,
    )
    .map_err(|error| match disk_full(&error) {
        true => BuildFailure::Store(Error::Full(session.store.root.clone())),
        false => BuildFailure::Layer(error),
    })?;
    tar.drain().map_err(|error| BuildFailure::Layer(layer::Error::Read(error)))?;

    data.sync_data().at("syncing", &data_path)?;
    entries.sync_data().at("syncing", &entries_path)?;
    durable::sync_directory(draft)?;
    Ok(summary)
}
