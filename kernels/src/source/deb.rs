//! Debian packages (deb(5)): an ar archive whose `data.tar` holds the files.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::Error;
use super::collection::Collection;
use super::directory::{Place, place};
use crate::bounded::Bounded;
use crate::compression;

pub const MAGIC: &[u8] = b"!<arch>\n";

/// A package's files, unpacked, in bytes: what no real kernel reaches and a disk survives.
const UNPACKED_LIMIT: u64 = 8 << 30;
const ENTRIES_LIMIT: usize = 200_000;
const LONGEST_NAME: u64 = 4096;
/// Members before `data.tar`: debian-binary, control.tar, perhaps a signature or two.
const MEMBERS_LIMIT: usize = 16;

/// Adds the kernel, configuration and modules of a package to the collection.
pub fn collect(file: File, into: &mut Collection) -> Result<(), Error> {
    let mut archive = BufReader::with_capacity(128 << 10, file);
    archive.read_exact(&mut [0; MAGIC.len()]).map_err(Error::Read)?;
    for _ in 0..MEMBERS_LIMIT {
        let Some(member) = Member::read(&mut archive)? else {
            return Err(Error::Package("it has no data.tar".into()));
        };
        let mut content = (&mut archive).take(member.size);
        if member.name == "data.tar" || member.name.starts_with("data.tar.") {
            let unpacked = compression::reader(&mut content).map_err(damaged)?;
            let mut unpacked = Bounded::new(unpacked, UNPACKED_LIMIT, "the unpacked package");
            files(&mut unpacked, into)?;
            // To the very end: the last checksum is there, and a cut would be.
            io::copy(&mut unpacked, &mut io::sink()).map_err(damaged)?;
            drop(unpacked);
            io::copy(&mut content, &mut io::sink()).map_err(Error::Read)?;
            return match content.limit() {
                0 => Ok(()),
                _ => Err(Error::Package("it is cut off".into())),
            };
        }
        let skipped = io::copy(&mut content, &mut io::sink()).map_err(Error::Read)?;
        if skipped < member.size {
            return Err(Error::Package(format!("it is cut off in {}", member.name)));
        }
        if member.size % 2 == 1 {
            // Members begin at even bytes; the last one may lack its filler.
            let _ = archive.read(&mut [0]).map_err(Error::Read)?;
        }
    }
    Err(Error::Package("it has no data.tar among its first members".into()))
}

/// One member's header in an ar archive.
struct Member {
    name: String,
    /// In bytes.
    size: u64,
}

impl Member {
    fn read(from: &mut impl Read) -> Result<Option<Member>, Error> {
        let mut header = [0; 60];
        match compression::read_start(from, &mut header).map_err(Error::Read)? {
            0 => return Ok(None),
            60 => {}
            _ => return Err(Error::Package("it is cut off".into())),
        }
        if &header[58..] != b"`\n" {
            return Err(Error::Package("a member's header is not one".into()));
        }
        let field = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let name = field(&header[..16]).trim_end_matches('/').to_owned();
        let size = field(&header[48..58]);
        let size = size.parse().map_err(|_| Error::Package(format!("{name} has the size {size:?}")))?;
        Ok(Some(Member { name, size }))
    }
}

/// Goes through the tar archive to its end, so that damage anywhere in it is seen.
fn files(tar: impl Read, into: &mut Collection) -> Result<(), Error> {
    let mut tar = tar::Archive::new(tar);
    let mut long_name: Option<Vec<u8>> = None;
    // Raw: long names are then read by us, within bounds.
    for (number, entry) in tar.entries().map_err(damaged)?.raw(true).enumerate() {
        if number >= ENTRIES_LIMIT {
            return Err(Error::Limit("the number of a package's files", ENTRIES_LIMIT.to_string()));
        }
        let mut entry = entry.map_err(damaged)?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            long_name = Some(read_long_name(&mut entry)?);
            continue;
        }
        if kind.is_gnu_longlink() {
            continue;
        }
        if kind.is_pax_local_extensions() || kind.is_pax_global_extensions() {
            return Err(Error::Package("it has PAX headers, which Debian packages may not".into()));
        }
        let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
        let path = relative(&name)?;
        let Some(place) = place(&path) else { continue };
        if kind.is_file() {
            store(place, &mut entry, into)?;
        } else if (kind.is_symlink() || kind.is_hard_link()) && is_taken(&path) {
            return Err(Error::Hostile(format!("{} is a link", path.display())));
        }
    }
    Ok(())
}

fn store(place: Place, content: impl Read, into: &mut Collection) -> Result<(), Error> {
    match place {
        Place::Image(_) => into.image(content),
        Place::Config(_) => into.config(content),
        Place::ModuleFile { version, path } => into.module_file(&version, &path, content),
    }
    .map_err(|error| match error {
        Error::Read(cause) => damaged(cause),
        other => other,
    })
}

/// Whether something depends on this being a file: links such as `build` and `source` are left
/// out quietly.
fn is_taken(path: &Path) -> bool {
    !matches!(place(path), Some(Place::ModuleFile { path, .. }) if !path.to_string_lossy().contains(".ko"))
}

/// The entry's name as a path below the root.
fn relative(name: &[u8]) -> Result<PathBuf, Error> {
    let hostile = || Error::Hostile(format!("it names {}", String::from_utf8_lossy(name)));
    let mut path = PathBuf::new();
    for component in Path::new(std::ffi::OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => return Err(hostile()),
        }
    }
    if name.contains(&0) { Err(hostile()) } else { Ok(path) }
}

fn read_long_name(entry: &mut impl Read) -> Result<Vec<u8>, Error> {
    let mut name = Vec::new();
    Bounded::new(entry, LONGEST_NAME, "a file's name").read_to_end(&mut name).map_err(damaged)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    Ok(name)
}

fn damaged(cause: io::Error) -> Error {
    Error::Package(cause.to_string())
}
