//! Source packages of an archive, which whoever uses this crate asks.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use super::{Error, Watcher, digest};
use crate::staging::{Staging, StoreLock};

/// How long it may take until a call-off is heard.
const ATTENTION: Duration = Duration::from_millis(100);

/// An archive of packages. Why something cannot be had is said in one line.
pub trait PackageArchive: fmt::Debug + Send + Sync {
    /// The newest package of that name, as the archive has signed it. It is not fetched yet.
    fn find(&self, name: &str) -> Result<Box<dyn SourcePackage>, String>;
}

/// A package of an archive.
pub trait SourcePackage: Send + Sync {
    /// The name of its file.
    fn file_name(&self) -> &str;
    /// In hexadecimal digits, as the archive has signed it.
    fn sha256(&self) -> &str;
    /// Fetches it into a directory, under its name.
    fn fetch(&self, directory: &Path) -> Result<PathBuf, String>;
}

/// A package that was found.
pub struct Package {
    name: String,
    found: Arc<dyn SourcePackage>,
}

impl Package {
    /// Asks for the newest of that name.
    pub fn find(
        name: &str,
        archive: &Arc<dyn PackageArchive>,
        watcher: &dyn Watcher,
    ) -> Result<Package, Error> {
        let (archive, wanted) = (Arc::clone(archive), name.to_owned());
        let found = attend(name, watcher, move || archive.find(&wanted))?;
        Ok(Package { name: name.into(), found: found.into() })
    }

    pub fn sha256(&self) -> &str {
        self.found.sha256()
    }

    /// The package's file in the `cache`, which may have been fetched before.
    pub fn fetch(&self, cache: &Path, watcher: &dyn Watcher) -> Result<PathBuf, Error> {
        let directory = cache.join("packages");
        let place = directory.join(Path::new(self.found.file_name()).file_name().unwrap_or_default());
        let failed = |cause| Error::Cache { path: directory.clone(), cause };
        if place.is_file() && digest::of_file(&place, watcher)? == self.sha256() {
            return Ok(place);
        }
        std::fs::create_dir_all(&directory).map_err(failed)?;
        let staging = Staging::new(&directory).map_err(failed)?;
        let (package, to) = (Arc::clone(&self.found), staging.path().to_owned());
        let fetched = attend(&self.name, watcher, move || package.fetch(&to))?;
        let sha256 = digest::of_file(&fetched, watcher)?;
        if sha256 != self.sha256() {
            let why = format!("SHA-256 {sha256} came, the archive's index has {}", self.sha256());
            return Err(Error::Package { package: self.name.clone(), why });
        }
        let _lock = StoreLock::acquire(&directory).map_err(failed)?;
        std::fs::rename(&fetched, &place).map_err(failed)?;
        Ok(place)
    }
}

impl fmt::Display for Package {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self.found.file_name())
    }
}

/// Waits for what another thread does about the package of that name, until the build is called off: then nobody
/// waits for it any more, and it ends with the process.
fn attend<T: Send + 'static>(
    name: &str,
    watcher: &dyn Watcher,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Error> {
    let failed = |why| Error::Package { package: name.into(), why };
    let (sender, done) = sync_channel(1);
    std::thread::Builder::new()
        .spawn(move || sender.send(work()))
        .map_err(|error| failed(format!("cannot start a thread: {error}")))?;
    while !watcher.cancelled() {
        match done.recv_timeout(ATTENTION) {
            Ok(done) => return done.map_err(failed),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(failed("it was given up".into())),
        }
    }
    Err(Error::Cancelled)
}

#[cfg(test)]
#[path = "package_test.rs"]
mod tests;
