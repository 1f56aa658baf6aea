//! What was fetched of a suite and may still be what it is: `MIRROR/SUITE/{InRelease, InRelease.json, Packages-….xz}`.
//! Nothing of it is believed: it is checked like what comes from the network.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use registry::Validators;
use serde::{Deserialize, Serialize};

const RELEASE: &str = "InRelease";
const VALIDATORS: &str = "InRelease.json";
const TEMPORARY: &str = ".fetching-";
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

pub struct ReleaseCache {
    directory: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    etag: Option<String>,
    modified: Option<String>,
}

impl ReleaseCache {
    pub fn new(directory: PathBuf) -> io::Result<ReleaseCache> {
        fs::create_dir_all(&directory)?;
        Ok(ReleaseCache { directory })
    }

    /// The release that was fetched last, and by what the server knows it.
    pub fn release(&self) -> Option<(Vec<u8>, Validators)> {
        let stored = fs::read(self.directory.join(VALIDATORS)).ok()?;
        let Stored { etag, modified } = serde_json::from_slice(&stored).ok()?;
        let release = fs::read(self.directory.join(RELEASE)).ok()?;
        Some((release, Validators { etag, modified }))
    }

    pub fn keep_release(&self, release: &[u8], validators: Validators) -> io::Result<()> {
        // Between the two, old validators would stand beside a new release.
        match fs::remove_file(self.directory.join(VALIDATORS)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let stored = Stored { etag: validators.etag, modified: validators.modified };
        self.write(RELEASE, release)?;
        self.write(VALIDATORS, &serde_json::to_vec(&stored)?)
    }

    /// The list of packages with this digest, if it is here.
    pub fn packages(&self, sha256: &str) -> Option<File> {
        File::open(self.directory.join(name_of(sha256))).ok()
    }

    /// Keeps a list in the place of earlier ones.
    pub fn keep_packages(&self, sha256: &str, list: tempfile::NamedTempFile) -> io::Result<File> {
        let name = name_of(sha256);
        for entry in fs::read_dir(&self.directory)?.flatten() {
            let old = entry.file_name();
            let is_other_list = old.to_string_lossy().starts_with("Packages-") && old != name.as_str();
            if is_other_list || is_abandoned(&entry) {
                let _ = fs::remove_file(entry.path());
            }
        }
        list.persist(self.directory.join(name)).map_err(|error| error.error)
    }

    /// A file to fetch something into, on the same file system.
    pub fn temporary(&self) -> io::Result<tempfile::NamedTempFile> {
        tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&self.directory)
    }

    pub fn path(&self) -> &Path {
        &self.directory
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut file = self.temporary()?;
        file.write_all(content)?;
        file.persist(self.directory.join(name)).map_err(|error| error.error)?;
        Ok(())
    }
}

/// Whether this was being fetched by a process that was killed long ago.
fn is_abandoned(entry: &fs::DirEntry) -> bool {
    let age =
        entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|time| time.elapsed().ok());
    entry.file_name().to_string_lossy().starts_with(TEMPORARY) && age.is_some_and(|age| age > ABANDONED)
}

fn name_of(sha256: &str) -> String {
    format!("Packages-{sha256}.xz")
}
