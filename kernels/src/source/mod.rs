//! Where a kernel comes from: packages, kernel images, configurations, directories.

mod ahead;
mod apk;
mod build_tree;
mod collection;
mod cpio_files;
mod deb;
mod digested;
pub(crate) mod directory;
mod file_tree;
mod openpgp;
mod package_files;
mod place;
mod provenance;
mod rpm;
mod rpm_files;
mod rpm_header;
mod tar_files;
mod tar_package;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use collection::Collection;
pub use file_tree::{Entry, EntryKind, FileTree, HostTree};
pub use provenance::{Facts, Origin, Provenance, Source};

use self::directory::Choice;
use crate::bounded::Bounded;
use crate::compression::{self, Compression, read_start};
use crate::config::KernelConfig;

/// The largest configuration that is accepted, in bytes.
const CONFIG_LIMIT: u64 = 16 << 20;

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read it{hint}: {0}", hint = if is_denied(.0) { TO_BE_READ } else { "" })]
    Read(#[source] io::Error),
    #[error("cannot read {path} in it{}: {cause}", if is_denied(cause) { TO_BE_READ } else { "" })]
    File {
        path: String,
        #[source]
        cause: io::Error,
    },
    #[error("cannot store {} in {}: {cause}", path.display(), store.display())]
    Store {
        path: PathBuf,
        store: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("a damaged package: {0}")]
    Package(String),
    #[error("a hostile package: {0}")]
    Hostile(String),
    #[error("{0}")]
    Nothing(String),
    #[error("it holds several kernels, {0}: choose one with --release")]
    Several(String),
    #[error("there is no kernel of release {wanted} in it: it has {found}")]
    NoRelease { wanted: String, found: String },
    #[error("it does not have the kernel that runs, {running}: it has {found}, of which --release takes one")]
    NotRunning { running: String, found: String },
    #[error("it has modules of {found}, other sources have those of {known}")]
    Versions { known: String, found: String },
    #[error("it has a second {0}: of several kernels in an archive, --release chooses one")]
    Twice(&'static str),
    #[error("{0} exceeds the limit of {1}")]
    Limit(&'static str, String),
    #[error("the package {package} is for {architecture}, not x86-64")]
    Architecture { package: String, architecture: String },
    #[error("it is a package of a kind that is not read yet: {0}")]
    Format(&'static str),
    #[error("it is neither a package, a kernel, a kernel configuration nor a directory")]
    Unknown,
}

/// What is to be done where files are root's alone, as Ubuntu's kernels in /boot are.
const TO_BE_READ: &str = " (run this as root, or take a copy that may be read)";

fn is_denied(cause: &io::Error) -> bool {
    cause.kind() == io::ErrorKind::PermissionDenied
}

impl Error {
    /// Whether a file may not be read, or a directory not be listed.
    fn is_denied(&self) -> bool {
        matches!(self, Error::Read(cause) | Error::File { cause, .. } if is_denied(cause))
    }
}

/// Adds what `source` holds to the collection, and says what it was.
pub fn collect(source: &Source, into: &mut Collection) -> Result<Facts, Error> {
    match &source.tree {
        Some(tree) => {
            let release = into.release().map(str::to_owned);
            directory::collect(&**tree, Choice { release: release.as_deref(), running: None }, into)?;
            Ok(Facts::plain("image"))
        }
        None => of_host(&source.path, into),
    }
}

fn of_host(source: &Path, into: &mut Collection) -> Result<Facts, Error> {
    let kind = std::fs::metadata(source).map_err(Error::Read)?;
    if kind.is_dir() {
        if build_tree::is(source) {
            return build_tree::collect(source, into);
        }
        let is_host = source.canonicalize().is_ok_and(|root| root == Path::new("/"));
        let running = is_host.then(|| rustix::system::uname().release().to_string_lossy().into_owned());
        let release = into.release().map(str::to_owned);
        let choice = Choice { release: release.as_deref(), running: running.as_deref() };
        directory::collect(&HostTree::new(source), choice, into)?;
        return Ok(Facts::plain("directory"));
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
    } else if start.starts_with(rpm::MAGIC) {
        rpm::collect(file, into)
    } else if start.starts_with(apk::NEW_MAGIC) {
        Err(Error::Format("an Alpine package of version 3 (apk mkpkg); version 2 is"))
    } else if let Some(first) = first_of_tar(source)? {
        let is_gzip = Compression::of(start) == Compression::Gzip;
        if is_gzip && apk::is(&first) {
            apk::collect(file, into)
        } else {
            tar_package::collect(source, file, into)
        }
    } else if std::str::from_utf8(start).is_ok_and(|text| text.contains("CONFIG_")) {
        config(file, into)?;
        Ok(Facts::plain("kernel configuration"))
    } else if let Some((root, version)) = directory::of_kernel(source) {
        let choice = Choice { release: Some(&version), running: None };
        directory::collect(&HostTree::new(&root), choice, into)?;
        Ok(Facts::plain("kernel with its modules beside it"))
    } else {
        into.image(None, file)?;
        Ok(Facts::plain(match Compression::of(start) {
            Compression::None if start.starts_with(b"\x7fELF") => "vmlinux",
            Compression::None => "bzImage",
            _ => "compressed vmlinux",
        }))
    }
}

/// The name of the first file, if this is a tar archive, compressed or not.
fn first_of_tar(source: &Path) -> Result<Option<Vec<u8>>, Error> {
    let file = File::open(source).map_err(Error::Read)?;
    let mut block = [0; 512];
    // What cannot be unpacked is no archive; whoever takes it for something else will say what is wrong.
    let read = compression::reader(file).and_then(|mut content| read_start(&mut content, &mut block));
    let is_tar = read.is_ok_and(|read| read == block.len()) && &block[257..262] == b"ustar";
    let name = block[..100].split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(is_tar.then(|| name.to_vec()))
}

fn config(file: File, into: &mut Collection) -> Result<(), Error> {
    let mut text = String::new();
    Bounded::new(file, CONFIG_LIMIT, "the configuration").read_to_string(&mut text).map_err(Error::Read)?;
    if !KernelConfig::recognise(&text) {
        return Err(Error::Unknown);
    }
    into.config(text.as_bytes())
}
