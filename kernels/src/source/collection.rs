//! What has been taken from the sources so far, on its way into the store.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::package_files::shown;
use super::place::Form;
use super::{CONFIG_LIMIT, Error};
use crate::bounded::Bounded;
use crate::image::VMLINUX_LIMIT;
use crate::kernel::{CONFIG, MODULES};
use crate::modules::MODULE_LIMIT;

/// All that a kernel may bring along, in bytes and in files.
const TOTAL_LIMIT: u64 = 8 << 30;
const FILES_LIMIT: usize = 100_000;
/// In bytes; the kernel's own limit is 64.
const LONGEST_VERSION: usize = 128;
/// How deep a module may lie: real ones, ten directories. A hostile package with a thousand for each file would make
/// more of them than a disk has room for, and so deep that nobody could remove them.
const DEEPEST: usize = 32;

/// Kernels that others go before: what no real source has.
const MOST_LEFT_OUT: usize = 1000;

/// The name that the image has before it is unpacked.
const IMAGE: &str = "image";

/// The image that was taken.
struct Image {
    path: PathBuf,
    /// Its version and form, where it has a place that tells them.
    is: Option<(String, Form)>,
    bytes: u64,
}

/// The parts of one kernel, written to a directory that is not yet part of the store.
pub struct Collection {
    directory: PathBuf,
    image: Option<Image>,
    config: Option<PathBuf>,
    modules_version: Option<OsString>,
    /// Each file's digest by its path below the directory.
    digests: BTreeMap<PathBuf, [u8; 32]>,
    bytes: u64,
    buffer: Vec<u8>,
    /// Of several kernels in a package, only what belongs to this one's is taken.
    release: Option<String>,
    /// Whether something was there to choose from, and that release was.
    pub is_chosen: bool,
    /// The versions whose modules or configurations were there and not taken.
    left_out: BTreeSet<String>,
}

impl Collection {
    pub fn new(directory: &Path) -> Collection {
        Collection {
            directory: directory.to_owned(),
            image: None,
            config: None,
            modules_version: None,
            digests: BTreeMap::new(),
            bytes: 0,
            buffer: vec![0; 128 << 10],
            release: None,
            is_chosen: false,
            left_out: BTreeSet::new(),
        }
    }

    /// Of packages with several kernels, this one's files are to be taken.
    pub fn of_release(self, release: Option<&str>) -> Collection {
        Collection { release: release.map(str::to_owned), ..self }
    }

    /// The only kernel whose files are to be taken.
    pub fn release(&self) -> Option<&str> {
        self.release.as_deref()
    }

    /// Remembers that something of this version's was not taken.
    pub fn leave_out(&mut self, version: &str) -> Result<(), Error> {
        // A longer one is no kernel's.
        if version.len() <= LONGEST_VERSION && !self.left_out.contains(version) {
            self.left_out.insert(version.to_owned());
        }
        match self.left_out.len() > MOST_LEFT_OUT {
            true => Err(Error::Limit("the number of kernels in it", MOST_LEFT_OUT.to_string())),
            false => Ok(()),
        }
    }

    /// Whether the kernel of this version lacks what was there for it, and was not taken.
    pub fn lacks_what_was_left_out(&self, version: &str) -> bool {
        (self.modules_version.is_none() || self.config.is_none()) && self.left_out.contains(version)
    }

    /// The kernel's image, as it came.
    pub fn image_path(&self) -> Option<&Path> {
        self.image.as_ref().map(|image| image.path.as_path())
    }

    pub fn config_path(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The VERSION of `lib/modules/VERSION`.
    pub fn modules_version(&self) -> Option<&OsString> {
        self.modules_version.as_ref()
    }

    /// What all parts have together, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A digest over all parts: paths and contents.
    pub fn identity(&self) -> String {
        let mut digest = Sha256::new();
        for (path, content) in &self.digests {
            let path = path.as_os_str().as_bytes();
            digest.update((path.len() as u64).to_le_bytes());
            digest.update(path);
            digest.update(content);
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Takes the kernel's image. Some packages have it in two places; it has to be the same, or the other form of it.
    pub fn image(&mut self, is: Option<(&str, Form)>, content: impl Read) -> Result<(), Error> {
        let content = Bounded::new(content, VMLINUX_LIMIT, "the kernel image");
        let is = is.map(|(version, form)| (version.to_owned(), form));
        if let Some(known) = &self.image {
            match known.is.as_ref().zip(is.as_ref()) {
                Some(((version, known), (other, form))) if version == other && form < known => return Ok(()),
                Some(((version, known), (other, form))) if version == other && form > known => {
                    self.drop_image()?
                }
                _ => return self.again(IMAGE, content, "kernel image"),
            }
        }
        let before = self.bytes;
        let path = self.write(Path::new(IMAGE), content)?;
        self.image = Some(Image { path, is, bytes: self.bytes - before });
        Ok(())
    }

    fn drop_image(&mut self) -> Result<(), Error> {
        if let Some(image) = self.image.take() {
            fs::remove_file(&image.path).map_err(|cause| self.cannot_store(Path::new(IMAGE), cause))?;
            self.digests.remove(Path::new(IMAGE));
            self.bytes -= image.bytes;
        }
        Ok(())
    }

    /// Takes the kernel's configuration.
    pub fn config(&mut self, content: impl Read) -> Result<(), Error> {
        if self.config.is_some() {
            let content = Bounded::new(content, CONFIG_LIMIT, "the configuration");
            return self.again(CONFIG, content, "kernel configuration");
        }
        let path = self.write(Path::new(CONFIG), Bounded::new(content, CONFIG_LIMIT, "the configuration"))?;
        self.config = Some(path);
        Ok(())
    }

    /// Takes one file of `lib/modules/VERSION`; `path` is relative to that.
    pub fn module_file(&mut self, version: &Path, path: &Path, content: impl Read) -> Result<(), Error> {
        let version = version.as_os_str();
        if version.len() > LONGEST_VERSION || !version.as_bytes().iter().all(u8::is_ascii_graphic) {
            return Err(Error::Hostile(format!("it has modules of {}", shown(version.as_bytes()))));
        }
        if path.components().count() > DEEPEST {
            return Err(Error::Limit("the depth of a module's path", format!("{DEEPEST} directories")));
        }
        match &self.modules_version {
            None => self.modules_version = Some(version.to_owned()),
            Some(known) if known == version => {}
            Some(known) => {
                return Err(Error::Versions {
                    known: known.to_string_lossy().into_owned(),
                    found: version.to_string_lossy().into_owned(),
                });
            }
        }
        let content = Bounded::new(content, MODULE_LIMIT, "a file of the modules");
        self.write(&Path::new(MODULES).join(path), content)?;
        Ok(())
    }

    fn cannot_store(&self, path: &Path, cause: io::Error) -> Error {
        Error::Store { path: path.to_owned(), store: self.store(), cause }
    }

    /// The directory that this one is in: what a user knows.
    fn store(&self) -> PathBuf {
        self.directory.parent().unwrap_or(&self.directory).to_owned()
    }

    /// Sees that what comes is what has come before.
    fn again(&self, known: &str, mut content: impl Read, what: &'static str) -> Result<(), Error> {
        let (mut digest, mut buffer) = (Sha256::new(), vec![0; 128 << 10]);
        loop {
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => digest.update(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
        let digest: [u8; 32] = digest.finalize().into();
        if self.digests.get(Path::new(known)) == Some(&digest) { Ok(()) } else { Err(Error::Twice(what)) }
    }

    fn write(&mut self, path: &Path, mut content: impl Read) -> Result<PathBuf, Error> {
        // What calls this has checked names already; nothing may be written elsewhere in any case.
        if !path.components().all(|component| matches!(component, Component::Normal(_))) {
            return Err(Error::Hostile(format!("the name {}", path.display())));
        }
        if self.digests.len() >= FILES_LIMIT {
            return Err(Error::Limit("the number of files", FILES_LIMIT.to_string()));
        }
        let target = self.directory.join(path);
        let store = self.store();
        let failed = |cause: io::Error| Error::Store { path: path.to_owned(), store: store.clone(), cause };
        let mut file = create_new(&target).map_err(|cause| match cause.kind() {
            io::ErrorKind::AlreadyExists => Error::Package(format!("it has {} twice", path.display())),
            io::ErrorKind::NotADirectory => Error::Package(format!("{} is below a file", path.display())),
            _ => failed(cause),
        })?;
        let mut digest = Sha256::new();
        let buffer = &mut self.buffer;
        loop {
            let read = match content.read(buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Read(error)),
            };
            self.bytes += read as u64;
            if self.bytes > TOTAL_LIMIT {
                return Err(Error::Limit("the kernel with its modules", "8 GiB".into()));
            }
            digest.update(&buffer[..read]);
            file.write_all(&buffer[..read]).map_err(failed)?;
        }
        self.digests.insert(path.to_owned(), digest.finalize().into());
        Ok(target)
    }
}

/// Most files come into a directory that is there already.
fn create_new(path: &Path) -> io::Result<File> {
    match (File::create_new(path), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(parent)?;
            File::create_new(path)
        }
        (created, _) => created,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_names_the_store() {
        let mut collection = Collection::new(Path::new("/proc/kernels/.staging-1"));
        let complaint = collection.config(&b"CONFIG_X=y"[..]).unwrap_err().to_string();
        assert!(complaint.starts_with("cannot store config in /proc/kernels: "), "{complaint}");
    }
}
