//! What was fetched of a suite and may still be what it is: `MIRROR/SUITE/{InRelease, InRelease.json, Packages-….xz}`.
//! Nothing of it is believed: it is checked like what comes from the network.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use registry::Validators;
use serde::{Deserialize, Serialize};

use crate::hash;

const RELEASE: &str = "InRelease";
const VALIDATORS: &str = "InRelease.json";
const TEMPORARY: &str = ".fetching-";
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

pub struct ReleaseCache {
    directory: PathBuf,
}

/// By what the server knows the release with this digest.
#[derive(Default, Serialize, Deserialize)]
struct Stored {
    sha256: String,
    etag: Option<String>,
    modified: Option<String>,
}

impl ReleaseCache {
    pub fn new(directory: PathBuf) -> io::Result<ReleaseCache> {
        fs::create_dir_all(&directory)?;
        Ok(ReleaseCache { directory })
    }

    /// The release that was fetched last, and by what the server knows it: nothing, when that was lost.
    pub fn release(&self) -> Option<(Vec<u8>, Validators)> {
        let release = fs::read(self.directory.join(RELEASE)).ok()?;
        let stored = fs::read(self.directory.join(VALIDATORS)).ok();
        let stored = stored.and_then(|stored| serde_json::from_slice::<Stored>(&stored).ok());
        // Somebody else may be between the two, or have been killed there.
        let stored = stored.filter(|stored| stored.sha256 == hash::of(&release)).unwrap_or_default();
        Some((release, Validators { etag: stored.etag, modified: stored.modified }))
    }

    /// Keeps a release in the place of the last one, which is there until then: an older one must not come after it.
    pub fn keep_release(&self, release: &[u8], validators: Validators) -> io::Result<()> {
        let stored =
            Stored { sha256: hash::of(release), etag: validators.etag, modified: validators.modified };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validators_are_those_of_the_release_beside_them_or_none() {
        let directory = tempfile::tempdir().unwrap();
        let cache = ReleaseCache::new(directory.path().to_owned()).unwrap();
        assert!(cache.release().is_none());
        let known = |etag: &str| Validators { etag: Some(etag.into()), modified: None };
        cache.keep_release(b"first", known("1")).unwrap();
        assert_eq!(cache.release().unwrap(), (b"first".to_vec(), known("1")));
        let first = fs::read(directory.path().join(VALIDATORS)).unwrap();
        cache.keep_release(b"second", known("2")).unwrap();
        assert_eq!(cache.release().unwrap(), (b"second".to_vec(), known("2")));
        // What a pull at the same time, or one that was killed, leaves.
        for stored in [&first[..], b"{", b"{\"etag\":\"1\"}"] {
            fs::write(directory.path().join(VALIDATORS), stored).unwrap();
            assert_eq!(cache.release().unwrap(), (b"second".to_vec(), Validators::default()));
        }
        fs::remove_file(directory.path().join(VALIDATORS)).unwrap();
        assert_eq!(cache.release().unwrap(), (b"second".to_vec(), Validators::default()));
    }
}
