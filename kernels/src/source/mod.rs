//! Where a kernel comes from: packages, kernel images, configurations, directories.

mod collection;
mod deb;
mod directory;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use collection::Collection;

use crate::bounded::Bounded;
use crate::compression::read_start;
use crate::config::KernelConfig;

/// The largest configuration that is accepted, in bytes.
const CONFIG_LIMIT: u64 = 16 << 20;

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read it: {0}")]
    Read(#[source] io::Error),
    #[error("cannot store {}: {cause}", path.display())]
    Store {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("a damaged Debian package: {0}")]
    Package(String),
    #[error("a hostile Debian package: {0}")]
    Hostile(String),
    #[error("{0}")]
    Nothing(String),
    #[error("it holds several kernels ({0}): name the one to add, e.g. boot/vmlinuz-{example}", example = .1)]
    Several(String, String),
    #[error("it has modules of {found}, other sources have those of {known}")]
    Versions { known: String, found: String },
    #[error("it has a second {0}")]
    Twice(&'static str),
    #[error("{0} exceeds the limit of {1}")]
    Limit(&'static str, String),
    #[error("it is neither a Debian package, a kernel, a kernel configuration nor a directory")]
    Unknown,
}

/// Adds what `source` holds to the collection.
pub fn collect(source: &Path, into: &mut Collection) -> Result<(), Error> {
    let kind = std::fs::metadata(source).map_err(Error::Read)?;
    if kind.is_dir() {
        return directory::collect(source, None, into);
    }
    if !kind.is_file() {
        return Err(Error::Unknown);
    }
    let mut start = [0; 4096];
    let mut file = File::open(source).map_err(Error::Read)?;
    let read = read_start(&mut file, &mut start).map_err(Error::Read)?;
    let start = &start[..read];

    let file = File::open(source).map_err(Error::Read)?;
    if start.starts_with(deb::MAGIC) {
        deb::collect(file, into)
    } else if std::str::from_utf8(start).is_ok_and(|text| text.contains("CONFIG_")) {
        config(file, into)
    } else if let Some((root, version)) = directory::of_kernel(source) {
        directory::collect(&root, Some(&version), into)
    } else {
        into.image(file)
    }
}

fn config(file: File, into: &mut Collection) -> Result<(), Error> {
    let mut text = String::new();
    Bounded::new(file, CONFIG_LIMIT, "the configuration").read_to_string(&mut text).map_err(Error::Read)?;
    if !KernelConfig::recognise(&text) {
        return Err(Error::Unknown);
    }
    into.config(text.as_bytes())
}
