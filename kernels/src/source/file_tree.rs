//! Where files are looked for: below a directory of this host, or in a tree that only its owner can read.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Files by their paths below a root, which nothing leads out of. Links on the way are followed.
pub trait FileTree: fmt::Debug {
    /// What is in a directory; nothing if there is none.
    fn entries(&self, directory: &Path) -> io::Result<Vec<Entry>>;

    /// A file's content; none if there is no such file.
    fn open(&self, file: &Path) -> io::Result<Option<Box<dyn Read + '_>>>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: OsString,
    pub kind: EntryKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Directory,
    /// Links among them.
    Other,
}

/// A directory of this host. What its links lead to is the host's matter.
#[derive(Debug)]
pub struct HostTree(PathBuf);

impl HostTree {
    pub fn new(root: &Path) -> HostTree {
        HostTree(root.to_owned())
    }
}

impl FileTree for HostTree {
    fn entries(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let entries = match fs::read_dir(self.0.join(directory)) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            let kind = entry.file_type()?;
            let kind = match () {
                () if kind.is_dir() => EntryKind::Directory,
                () if kind.is_file() => EntryKind::File,
                () => EntryKind::Other,
            };
            Ok(Entry { name: entry.file_name(), kind })
        };
        entries.map(entry).collect()
    }

    fn open(&self, file: &Path) -> io::Result<Option<Box<dyn Read + '_>>> {
        let path = self.0.join(file);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(Box::new(File::open(path)?))),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
