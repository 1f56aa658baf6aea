//! Building a kernel from its source, with a configuration of our own.

mod digest;
mod error;
mod fragment;
mod make;
mod options;
mod package;
mod source_code;
mod tools;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::bounded::Bounded;
use crate::staging::{Staging, StoreLock};
pub use error::Error;
use fragment::Wishes;
use make::Make;
pub use package::{PackageArchive, SourcePackage};
pub use source_code::Source;

/// The largest fragment that is read, in bytes.
const FRAGMENT_LIMIT: u64 = 1 << 20;
/// Changes with the way kernels are built, so that none is taken for what it is not.
const RECIPE: &str = "vmrun kernel build 1";

const IMAGE: &str = "bzImage";
const KERNEL_CONFIG: &str = "config";
const LOG: &str = "log";
/// What the last build that failed has said, in the cache.
const FAILED_LOG: &str = "failed.log";

/// What is to be built.
#[derive(Debug)]
pub struct Order<'a> {
    pub source: &'a Source,
    /// Files whose options go over vmrun's own; the last one has the last word.
    pub fragments: &'a [PathBuf],
    /// How many compilers run at once.
    pub jobs: usize,
    /// Where a source is that is a package.
    pub archive: &'a Arc<dyn PackageArchive>,
}

/// What a build has come to.
#[derive(Debug)]
pub struct Built {
    /// The kernel's image, a bzImage in the cache.
    pub image: PathBuf,
    /// Whether it was there already.
    pub known: bool,
    /// Options of vmrun's own fragment that this version of the kernel does not have.
    pub strange: Vec<String>,
}

/// What a build is doing, for whoever shows progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildStep {
    Looking,
    Downloading(String),
    Unpacking,
    Configuring,
    /// The file that is being made, as the kernel's build names it.
    Compiling(String),
}

impl std::fmt::Display for BuildStep {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BuildStep::Looking => to.write_str("looking at the source"),
            BuildStep::Downloading(package) => write!(to, "downloading {package}"),
            BuildStep::Unpacking => to.write_str("unpacking the source"),
            BuildStep::Configuring => to.write_str("configuring"),
            BuildStep::Compiling(file) => write!(to, "building {file}"),
        }
    }
}

/// Whoever waits for a build: is told how far it is, and can call it off.
pub trait Watcher {
    fn step(&self, step: BuildStep);
    /// Whether nobody wants the kernel any more.
    fn cancelled(&self) -> bool;
}

/// Builds kernels, and keeps them.
#[derive(Debug)]
pub struct Builder {
    cache: PathBuf,
}

impl Builder {
    /// Opens the cache in `directory`, which is made when missing.
    pub fn open(directory: &Path) -> Result<Builder, Error> {
        let failed = |cause| Error::Cache { path: directory.to_owned(), cause };
        fs::create_dir_all(directory).map_err(failed)?;
        let cache = directory.canonicalize().map_err(failed)?;
        Ok(Builder { cache })
    }

    /// Builds what `order` says, or finds it in the cache.
    pub fn build(&self, order: &Order<'_>, watcher: &dyn Watcher) -> Result<Built, Error> {
        let wishes = wishes(order.fragments)?;
        let compiler = tools::check()?;
        watcher.step(BuildStep::Looking);
        let source = order.source.look(order.archive, watcher)?;
        let key = key(&source.identity, &wishes.to_config(), &compiler);
        let place = self.cache.join(&key);
        if let Some(known) = known(&place)? {
            return Ok(known);
        }
        let failed = |cause| Error::Cache { path: self.cache.clone(), cause };
        let staging = Staging::new(&self.cache).map_err(failed)?;
        let strange = self.make(&source, &wishes, order.jobs, staging.path(), watcher)?;
        fs::write(staging.path().join("strange"), strange.join("\n")).map_err(failed)?;
        let lock = StoreLock::acquire(&self.cache).map_err(failed)?;
        // Somebody else may have been quicker.
        if let Some(known) = known(&place)? {
            return Ok(known);
        }
        staging.publish(&lock, &place).map_err(failed)?;
        Ok(Built { image: place.join(IMAGE), known: false, strange })
    }

    /// Leaves nothing in `directory` but the kernel, its configuration and the log.
    fn make(
        &self,
        source: &source_code::Looked,
        wishes: &Wishes,
        jobs: usize,
        directory: &Path,
        watcher: &dyn Watcher,
    ) -> Result<Vec<String>, Error> {
        let failed = |cause| Error::Cache { path: directory.to_owned(), cause };
        let tree = source.unpack(&self.cache, &directory.join("source"), watcher)?;
        let objects = directory.join("objects");
        fs::create_dir(&objects).map_err(failed)?;
        let asked = directory.join("asked");
        fs::write(&asked, wishes.to_config()).map_err(failed)?;
        let log = directory.join(LOG);
        let made = Make::new(&tree, &objects, &log).and_then(|make| {
            watcher.step(BuildStep::Configuring);
            make.run("allnoconfig", 1, Some(&asked), watcher)?;
            let config = fs::read_to_string(objects.join(".config")).map_err(failed)?;
            let options = options::Options::of(&tree)?;
            let strange = wishes.check(&config, |name| options.has(name))?;
            make.run("bzImage", jobs, None, watcher)?;
            Ok(strange)
        });
        let strange = made.map_err(|error| self.keep_log(error, &log))?;
        fs::rename(objects.join("arch/x86/boot/bzImage"), directory.join(IMAGE)).map_err(failed)?;
        fs::rename(objects.join(".config"), directory.join(KERNEL_CONFIG)).map_err(failed)?;
        fs::remove_dir_all(&objects).map_err(failed)?;
        if tree.starts_with(directory) {
            fs::remove_dir_all(directory.join("source")).map_err(failed)?;
        }
        Ok(strange)
    }

    /// The directory of a build that has failed goes away; what was said in it is wanted.
    fn keep_log(&self, error: Error, log: &Path) -> Error {
        let Error::Make { target, said, .. } = error else { return error };
        let kept = self.cache.join(FAILED_LOG);
        // Without the log, the line that names it is wrong, but the error is not lost.
        let _ = fs::rename(log, &kept);
        Error::Make { target, said, log: kept }
    }
}

fn known(place: &Path) -> Result<Option<Built>, Error> {
    let image = place.join(IMAGE);
    if !image.is_file() {
        return Ok(None);
    }
    let strange = fs::read_to_string(place.join("strange"))
        .map_err(|cause| Error::Cache { path: place.to_owned(), cause })?;
    Ok(Some(Built { image, known: true, strange: strange.lines().map(str::to_owned).collect() }))
}

fn wishes(fragments: &[PathBuf]) -> Result<Wishes, Error> {
    let mut wishes = Wishes::own()?;
    for path in fragments {
        let failed = |cause: io::Error| Error::Read { path: path.clone(), cause };
        let mut text = String::new();
        let file = File::open(path).map_err(failed)?;
        Bounded::new(file, FRAGMENT_LIMIT, "a fragment").read_to_string(&mut text).map_err(failed)?;
        wishes.add(&text, path)?;
    }
    Ok(wishes)
}

/// What tells one kernel from another before it is built.
fn key(source: &str, config: &str, compiler: &str) -> String {
    let mut digest = Sha256::new();
    for part in [RECIPE, source, config, compiler] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest::hexadecimal(&digest.finalize())
}

#[cfg(test)]
#[path = "build_test.rs"]
mod tests;
