//! A kernel's source: Debian's package of it, an archive, or a tree that is there already.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::digest::{self, hexadecimal};
use super::package::{Package, PackageArchive};
use super::{BuildStep, Error, Watcher};
use crate::bounded::Bounded;
use crate::compression;

/// How a Debian package begins: it is an ar archive.
const PACKAGE_MAGIC: &[u8; 8] = b"!<arch>\n";

/// What no kernel's source reaches.
const FILES_LIMIT: usize = 500_000;
const UNPACKED_LIMIT: u64 = 8 << 30;

/// Where the source is to come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The name of a package of Debian's: `linux-source-6.12`.
    Package(String),
    /// A source package's file, or a tar archive as kernel.org has them.
    Archive(PathBuf),
    Tree(PathBuf),
}

impl Source {
    /// Tells what `text` names: a file or directory that is there, else a package.
    pub fn parse(text: &str) -> Result<Source, Error> {
        let path = Path::new(text);
        if path.is_dir() {
            return Ok(Source::Tree(path.to_owned()));
        }
        if path.is_file() {
            return Ok(Source::Archive(path.to_owned()));
        }
        let signs = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
        match text.strip_prefix("linux-source") {
            Some(rest) if rest.bytes().all(signs) => Ok(Source::Package(text.into())),
            _ => Err(Error::Source(text.into())),
        }
    }

    /// Finds out which source this is, to the last byte.
    pub(super) fn look(
        &self,
        archive: &Arc<dyn PackageArchive>,
        watcher: &dyn Watcher,
    ) -> Result<Looked, Error> {
        match self {
            Source::Package(name) => {
                let package = Package::find(name, archive, watcher)?;
                Ok(Looked {
                    identity: format!("archive {}", package.sha256()),
                    origin: Origin::Package(package),
                })
            }
            Source::Archive(path) => {
                let sha256 = digest::of_file(path, watcher)?;
                Ok(Looked { identity: format!("archive {sha256}"), origin: Origin::Archive(path.clone()) })
            }
            Source::Tree(path) => {
                let root = path.canonicalize().map_err(|cause| Error::Read { path: path.clone(), cause })?;
                check_tree(&root)?;
                let identity = format!("tree {}", tree_identity(&root, watcher)?);
                Ok(Looked { identity, origin: Origin::Tree(root) })
            }
        }
    }
}

/// A source that has been looked at.
pub struct Looked {
    pub identity: String,
    origin: Origin,
}

enum Origin {
    Package(Package),
    Archive(PathBuf),
    Tree(PathBuf),
}

impl Looked {
    /// The source's tree, unpacked into the new directory `to` where it is not one already.
    pub fn unpack(&self, cache: &Path, to: &Path, watcher: &dyn Watcher) -> Result<PathBuf, Error> {
        let archive = match &self.origin {
            Origin::Tree(root) => return Ok(root.clone()),
            Origin::Archive(path) => path.clone(),
            Origin::Package(package) => {
                watcher.step(BuildStep::Downloading(package.to_string()));
                package.fetch(cache, watcher)?
            }
        };
        watcher.step(BuildStep::Unpacking);
        let failed = |cause| Error::Unpack { path: archive.clone(), cause };
        fs::create_dir(to).map_err(failed)?;
        let file = File::open(&archive).map_err(failed)?;
        let complete = open_archive(file, |tar| untar(tar, to, watcher)).map_err(failed)?;
        if !complete {
            return Err(Error::Cancelled);
        }
        let root = only_directory(to).map_err(failed)?;
        let root = root.ok_or_else(|| not_source(&archive, "it does not hold one directory"))?;
        check_tree(&root)?;
        Ok(root)
    }
}

/// Gives `take` the unpacked tar archive of the source: `file` itself, or the one in a source package.
fn open_archive<T>(file: File, take: impl FnOnce(&mut dyn Read) -> io::Result<T>) -> io::Result<T> {
    let mut file = BufReader::with_capacity(128 << 10, file);
    let mut start = [0; PACKAGE_MAGIC.len()];
    let read = compression::read_start(&mut file, &mut start)?;
    let file = io::Cursor::new(start).take(read as u64).chain(file);
    if &start != PACKAGE_MAGIC {
        return take(&mut Bounded::new(compression::whole_reader(file)?, UNPACKED_LIMIT, "the source"));
    }
    let mut package = ar::Archive::new(file);
    while let Some(member) = package.next_entry() {
        let member = member?;
        if !member.header().identifier().starts_with(b"data.tar") {
            continue;
        }
        let unpacked = Bounded::new(compression::whole_reader(member)?, UNPACKED_LIMIT, "the package");
        let mut files = tar::Archive::new(unpacked);
        for entry in files.entries()? {
            let entry = entry?;
            let name = entry.path_bytes();
            let name = name.strip_prefix(b"./").unwrap_or(&name);
            if name.starts_with(b"usr/src/linux-source-") && entry.header().entry_type().is_file() {
                return take(&mut Bounded::new(
                    compression::whole_reader(entry)?,
                    UNPACKED_LIMIT,
                    "the source",
                ));
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the package has no usr/src/linux-source-*.tar"))
}

/// Returns whether all of it was unpacked: `false` when it was called off.
fn untar(from: &mut dyn Read, to: &Path, watcher: &dyn Watcher) -> io::Result<bool> {
    let mut archive = tar::Archive::new(from);
    for (number, entry) in archive.entries()?.enumerate() {
        if number >= FILES_LIMIT {
            return Err(crate::bounded::too_large("the number of the source's files", FILES_LIMIT as u64));
        }
        if watcher.cancelled() {
            return Ok(false);
        }
        // Stays in `to`, whatever it is named and whatever links there are.
        if !entry?.unpack_in(to)? {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a name in it leads outside"));
        }
    }
    Ok(true)
}

fn only_directory(of: &Path) -> io::Result<Option<PathBuf>> {
    let paths: io::Result<Vec<_>> = fs::read_dir(of)?.map(|entry| Ok(entry?.path())).collect();
    let mut directories: Vec<_> = paths?.into_iter().filter(|path| path.is_dir()).collect();
    Ok(directories.pop().filter(|_| directories.is_empty()))
}

fn check_tree(root: &Path) -> Result<(), Error> {
    for file in ["Makefile", "Kconfig", "arch/x86/Kconfig"] {
        if !root.join(file).is_file() {
            return Err(not_source(root, &format!("it has no {file}")));
        }
    }
    // The kernel's build refuses such a tree, in more words.
    if [".config", "include/config", "arch/x86/include/generated"].iter().any(|made| root.join(made).exists())
    {
        return Err(Error::Unclean(root.to_owned()));
    }
    Ok(())
}

fn not_source(path: &Path, why: &str) -> Error {
    Error::NotSource { path: path.to_owned(), why: why.into() }
}

/// A digest over names and contents of a tree, but for its history.
fn tree_identity(root: &Path, watcher: &dyn Watcher) -> Result<String, Error> {
    let failed = |path: &Path, cause| Error::Read { path: path.to_owned(), cause };
    let mut digest = Sha256::new();
    let mut files = 0;
    let mut unread = vec![root.to_owned()];
    while let Some(directory) = unread.pop() {
        let entries: io::Result<Vec<_>> = fs::read_dir(&directory).and_then(Iterator::collect);
        let mut entries = entries.map_err(|cause| failed(&directory, cause))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            files += 1;
            if files > FILES_LIMIT {
                return Err(not_source(root, "it has too many files"));
            }
            let kind = entry.file_type().map_err(|cause| failed(&path, cause))?;
            if kind.is_dir() {
                if entry.file_name() != ".git" {
                    unread.push(path);
                }
                continue;
            }
            let name = path.strip_prefix(root).unwrap_or(&path).as_os_str().as_bytes();
            digest.update((name.len() as u64).to_le_bytes());
            digest.update(name);
            let content = content_digest(&path, kind, watcher)?;
            digest.update(content);
        }
    }
    Ok(hexadecimal(&digest.finalize()))
}

fn content_digest(path: &Path, kind: fs::FileType, watcher: &dyn Watcher) -> Result<[u8; 32], Error> {
    let mut digest = Sha256::new();
    if kind.is_symlink() {
        let target = fs::read_link(path).map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
        digest.update(b"link");
        digest.update(target.as_os_str().as_bytes());
    } else if kind.is_file() {
        digest.update(b"file");
        digest::update(&mut digest, path, watcher)?;
    }
    Ok(digest.finalize().into())
}
