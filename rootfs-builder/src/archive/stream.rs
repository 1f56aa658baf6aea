//! An archive as a stream: read once, from its beginning to its end, entries in any order.
//!
//! The documents that say what is what may come last, so small entries and JSON are kept, and everything else
//! is handed to the caller at once, as a layer if it is one.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use super::documents::Documents;
use super::{Error, Limits};
use crate::compression::sniff;
use crate::digest::Digest;
use crate::layer::tar::{self, Entry, Kind, Problem, TarReader};

/// Entries up to this size are kept whatever they hold.
const SMALL: u64 = 64 << 10;
/// Bytes read at once.
const BUFFER: usize = 256 << 10;
/// A link to a link to a link: more has no use.
const LONGEST_CHAIN: usize = 8;

/// What an archive held, by path. `T` is what the caller made of a large entry.
pub struct Contents<T> {
    documents: HashMap<String, Vec<u8>>,
    large: HashMap<String, T>,
    links: HashMap<String, String>,
}

impl<T> Contents<T> {
    pub fn document(&self, path: &str) -> Option<&[u8]> {
        self.documents.get(self.resolved(path)).map(Vec::as_slice)
    }

    /// What the caller made of a large entry.
    pub fn large_mut(&mut self, path: &str) -> Option<&mut T> {
        let path = self.resolved(path).to_owned();
        self.large.get_mut(&path)
    }

    /// Adds what became of an entry that was kept as a document.
    pub fn insert_large(&mut self, path: &str, large: T) {
        self.large.insert(path.to_owned(), large);
    }

    /// For an archive without a list of images: what it is instead.
    pub fn why_no_image(&self) -> Error {
        let layers = |path: &String| path.starts_with("blobs/") || path.ends_with("/layer.tar");
        match self.documents.keys().chain(self.large.keys()).any(layers) {
            true => {
                Error::Missing { what: "the archive's index.json or manifest.json (is it cut short?)".into() }
            }
            false => Error::NotAnImage,
        }
    }

    /// The path of the entry itself, if this is a link.
    pub fn resolved<'a>(&'a self, path: &'a str) -> &'a str {
        let mut path = path;
        for _ in 0..LONGEST_CHAIN {
            match self.links.get(path) {
                Some(target) => path = target,
                None => break,
            }
        }
        path
    }
}

impl<T> Documents for Contents<T> {
    fn blob(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let bytes = self.document(&blob_path(digest));
        match bytes.filter(|bytes| bytes.len() as u64 > limit) {
            Some(_) => Err(Error::DocumentTooLarge { what: digest.short(), limit }),
            None => Ok(bytes.map(<[u8]>::to_vec)),
        }
    }
}

/// Where an OCI layout keeps a blob.
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Reads a whole archive, itself compressed or not. `take` is called with each large entry's path, size and
/// bytes.
pub fn read<T, E: From<Error>>(
    archive: impl Read,
    limits: &Limits,
    mut take: impl FnMut(&str, u64, &mut dyn Read) -> Result<T, E>,
) -> Result<Contents<T>, E> {
    let (compression, archive) = sniff(archive).map_err(Error::Read)?;
    let archive = compression.decoder(BufReader::with_capacity(BUFFER, archive)).map_err(Error::Read)?;
    let archive = Bounded { inner: archive, left: limits.archive_bytes, limit: limits.archive_bytes };
    let mut tar = TarReader::new(BufReader::with_capacity(BUFFER, archive));
    let mut contents = Contents { documents: HashMap::new(), large: HashMap::new(), links: HashMap::new() };
    let mut kept_bytes = 0;
    let mut keep = |bytes: u64| {
        kept_bytes += bytes;
        let limit = limits.all_documents_bytes;
        if kept_bytes > limit { Err(Error::DocumentsTooLarge { limit }) } else { Ok(()) }
    };
    let mut entries = 0;

    loop {
        let entry = match tar.next_entry() {
            // Text or noise, not something that once was an archive.
            Err(tar::Error::Entry { .. }) if entries == 0 => return Err(Error::NotAnImage.into()),
            entry => entry.map_err(Error::from)?,
        };
        let Some(Entry { path, kind, link, size, sparse, .. }) = entry else {
            break;
        };
        entries += 1;
        if entries > limits.archive_entries {
            return Err(Error::TooManyEntries { limit: limits.archive_entries }.into());
        }
        // A name can have a megabyte.
        keep((path.len() + link.len()) as u64)?;
        let path = normalised(Path::new(""), &path);
        match kind {
            Kind::File if sparse.is_none() => {}
            Kind::Symlink | Kind::HardLink => {
                let from = if kind == Kind::Symlink { Path::new(&path).parent() } else { None };
                let target = normalised(from.unwrap_or(Path::new("")), &link);
                contents.links.insert(path, target);
                continue;
            }
            _ => continue,
        }

        let mut content = Content(&mut tar);
        let mut first = Vec::new();
        content.by_ref().take(SMALL).read_to_end(&mut first).map_err(Error::Read)?;
        let json = matches!(first.trim_ascii_start().first(), Some(b'{' | b'['));
        contents.large.remove(&path);
        contents.documents.remove(&path);
        if size <= SMALL || json && size <= limits.document_bytes {
            keep(size)?;
            content.read_to_end(&mut first).map_err(Error::Read)?;
            contents.documents.insert(path, first);
        } else {
            let taken = take(&path, size, &mut first.as_slice().chain(content))?;
            contents.large.insert(path, taken);
        }
    }
    match entries {
        0 => Err(Error::Empty.into()),
        _ => Ok(contents),
    }
}

/// Ends with an error when there is more than a limit.
struct Bounded<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(out)?;
        match self.left.checked_sub(length as u64) {
            Some(left) => self.left = left,
            None => {
                let limit = self.limit;
                return Err(io::Error::other(format!("more than {limit} bytes in one archive, the limit")));
            }
        }
        Ok(length)
    }
}

/// The content of the entry that a reader stands at. Ends early only with an error.
struct Content<'a, R>(&'a mut TarReader<R>);

impl<R: BufRead> Read for Content<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let failed = |problem| match problem {
            Problem::Read(error) => error,
            problem => io::Error::other(problem),
        };
        let available = self.0.content().map_err(failed)?;
        let n = available.len().min(out.len());
        out[..n].copy_from_slice(&available[..n]);
        self.0.consume(n);
        Ok(n)
    }
}

/// A path below the archive's root, without `.` and `..`. Only ever a key: no file is opened by it.
fn normalised(from: &Path, path: &[u8]) -> String {
    let path = Path::new(OsStr::from_bytes(path));
    let mut parts: Vec<String> = Vec::new();
    for component in from.components().chain(path.components()) {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => drop(parts.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    parts.join("/")
}
