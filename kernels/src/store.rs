//! The kernels that vmrun keeps: `kernels/NAME/{kernel.json, vmlinux, config, modules.disk, modules/,
//! archives/}`.

mod allocated;
mod description;
mod error;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::bounded::Bounded;
use crate::feature::{EMULATED_HOST, Feature, LATER, MACHINE_WITH_BLOCK, MACHINE_WITH_PMEM};
use crate::kernel::{DESCRIPTION, Description, Kernel, MODULES, MODULES_DISK, Place};
use crate::modules::{self, DiskMaker, ModuleTree, Signatures};
use crate::source::{self, Collection, Provenance, Source};
use crate::staging::{self, Staging, StoreLock, set_aside};
use crate::sums;
use allocated::allocated;
use description::{Unreadable, describe};
pub use error::Error;

/// Names the default kernel.
const DEFAULT: &str = ".default";
const DESCRIPTION_LIMIT: u64 = 1 << 20;
const LONGEST_NAME: usize = 128;

/// How a kernel is to be stored.
#[derive(Debug, Clone, Copy, Default)]
pub struct Addition<'a> {
    /// Without one it gets its version's.
    pub name: Option<&'a str>,
    /// Where sources have several kernels, take that of this release.
    pub release: Option<&'a str>,
    /// Put it in the place of another kernel of that name. Machines that run on that go on.
    pub replace: bool,
}

/// What `add` is doing, for whoever shows progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    Reading(&'a Path),
    Unpacking,
    Examining,
    /// Unpacking and indexing so many modules.
    Modules(usize),
    Storing,
}

impl std::fmt::Display for Step<'_> {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Reading(path) => write!(to, "reading {}", path.display()),
            Step::Unpacking => to.write_str("unpacking the kernel"),
            Step::Examining => to.write_str("looking at the modules"),
            Step::Modules(count) => write!(to, "making the disk of {count} modules"),
            Step::Storing => to.write_str("storing"),
        }
    }
}

/// A directory for files that are on their way into the store.
pub struct Scratch(Staging);

impl Scratch {
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// A directory of kernels.
#[derive(Debug, Clone)]
pub struct KernelStore {
    directory: PathBuf,
    disk_maker: Option<DiskMaker>,
}

impl KernelStore {
    /// Opens the store in `directory`, which is made when missing.
    pub fn open(directory: &Path) -> Result<KernelStore, Error> {
        let failed = |cause| Error::Open { path: directory.to_owned(), cause };
        fs::create_dir_all(directory).map_err(failed)?;
        let directory = directory.canonicalize().map_err(failed)?;
        Ok(KernelStore { directory, disk_maker: None })
    }

    /// With a disk of its modules for each kernel that is added from now on.
    pub fn with_disks(self, maker: DiskMaker) -> KernelStore {
        KernelStore { disk_maker: Some(maker), ..self }
    }

    /// Adds the one kernel that `sources` make up together: packages, a kernel image, a
    /// configuration, directories. The first kernel becomes the default one. Adding the same kernel
    /// again changes nothing else.
    pub fn add(
        &self,
        sources: &[Source],
        addition: &Addition<'_>,
        progress: &dyn Fn(Step<'_>),
    ) -> Result<Kernel, Error> {
        let name = addition.name;
        if let Some(name) = name {
            check_name(name)?;
        }
        let staging = Staging::new(&self.directory)
            .map_err(|cause| Error::Open { path: self.directory.clone(), cause })?;
        let mut collection = Collection::new(staging.path()).of_release(addition.release);
        let mut known = Vec::new();
        for source in sources {
            progress(Step::Reading(&source.path));
            let failed = |cause| Error::Source { path: source.path.clone(), cause };
            let facts = source::collect(source, &mut collection).map_err(failed)?;
            known.push(Provenance::new(source, facts).map_err(|cause| failed(source::Error::Read(cause)))?);
        }
        let described = describe(&collection, staging.path(), known, &shown(sources), progress);
        let description = match (described, addition.release) {
            (Err(Error::Empty { sources }), Some(release)) => {
                return Err(Error::NoRelease { sources, release: release.into() });
            }
            (Ok(description), Some(release)) if !collection.is_chosen && description.version != release => {
                return Err(Error::NoRelease { sources: shown(sources), release: release.into() });
            }
            (Ok(Description { version, .. }) | Err(Error::NoModules { version, .. }), _)
                if collection.lacks_what_was_left_out(&version) =>
            {
                return Err(Error::LeftOut { sources: shown(sources), version });
            }
            (described, _) => described?,
        };
        let name = name.unwrap_or(&description.version).to_owned();
        check_name(&name)?;
        self.furnish(&name, staging.path(), &description, progress)?;
        progress(Step::Storing);
        self.publish(staging, &name, description, addition.replace)
    }

    /// Whether `name` can be a kernel's.
    pub fn check_name(name: &str) -> Result<(), Error> {
        check_name(name)
    }

    /// A directory on the store's file system for what is to be added. It goes when it is dropped; if this process
    /// is killed, whoever adds something next removes it.
    pub fn scratch(&self) -> Result<Scratch, Error> {
        let staging = Staging::new(&self.directory);
        staging.map(Scratch).map_err(|cause| Error::Open { path: self.directory.clone(), cause })
    }

    /// Every stored kernel, by name. One that cannot be read is left out, and `complain` gets to know why.
    pub fn list(&self, complain: &mut dyn FnMut(Error)) -> Result<Vec<Kernel>, Error> {
        let failed = |cause| Error::Read { path: self.directory.clone(), cause };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            names.extend(name.to_str().filter(|name| check_name(name).is_ok()).map(str::to_owned));
        }
        names.extend(set_aside::names(&self.directory).map_err(failed)?);
        names.sort();
        names.dedup();
        let mut kernels = Vec::with_capacity(names.len());
        for name in &names {
            match self.get(name) {
                Ok(kernel) => kernels.push(kernel),
                Err(Error::NotFound(_)) => {}
                Err(error) => complain(error),
            }
        }
        Ok(kernels)
    }

    /// The kernel of that name.
    pub fn get(&self, name: &str) -> Result<Kernel, Error> {
        check_name(name).map_err(|_| Error::NotFound(name.into()))?;
        match self.read(name) {
            // Another may be taking its place, or the process that did so was killed.
            Err(Error::NotFound(_)) => {
                if set_aside::holds(&self.directory, name) {
                    drop(self.lock()?);
                }
                self.read(name)
            }
            read => read,
        }
    }

    fn read(&self, name: &str) -> Result<Kernel, Error> {
        let directory = self.directory.join(name);
        let place = Place::of(&directory);
        let path = directory.join(DESCRIPTION);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotFound(name.into()));
            }
            Err(cause) => return Err(Error::Read { path, cause }),
        };
        let damaged = |why| Error::Damaged { name: name.into(), why };
        let mut text = String::new();
        Bounded::new(file, DESCRIPTION_LIMIT, "the description").read_to_string(&mut text).map_err(
            |cause| match cause.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge => damaged(cause.to_string()),
                _ => Error::Read { path, cause },
            },
        )?;
        let description = description::parse(&text).map_err(|unreadable| match unreadable {
            Unreadable::Newer => Error::Newer(name.into()),
            Unreadable::Damaged(why) => damaged(why),
        })?;
        Ok(Kernel::in_place(name, directory, place, description))
    }

    /// Removes a kernel. Machines that run it go on; when it was the default, there is none then.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let lock = self.lock()?;
        check_name(name).map_err(|_| Error::NotFound(name.into()))?;
        let directory = self.directory.join(name);
        if !directory.exists() {
            return Err(Error::NotFound(name.into()));
        }
        staging::remove(&self.directory, &directory, &lock)
            .map_err(|cause| Error::Write { path: directory, cause })?;
        if self.default_name()?.as_deref() == Some(name) {
            let path = self.directory.join(DEFAULT);
            fs::remove_file(&path).map_err(|cause| Error::Write { path, cause })?;
        }
        Ok(())
    }

    /// Makes a stored kernel the one that machines get when nobody names one.
    pub fn set_default(&self, name: &str) -> Result<(), Error> {
        let lock = self.lock()?;
        self.get(name)?;
        self.write_default(name, &lock)
    }

    /// The kernel that machines get when nobody names one.
    pub fn default_kernel(&self) -> Result<Kernel, Error> {
        self.get(&self.default_name()?.ok_or(Error::NoDefault)?)
    }

    /// The default kernel's name, when there is one.
    pub fn default_name(&self) -> Result<Option<String>, Error> {
        let path = self.directory.join(DEFAULT);
        match fs::read_to_string(&path) {
            Ok(name) => Ok(Some(name.trim_end().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(Error::Read { path, cause }),
        }
    }

    /// Makes what machines will ask for, so that no start waits for it.
    fn furnish(
        &self,
        name: &str,
        directory: &Path,
        description: &Description,
        progress: &dyn Fn(Step<'_>),
    ) -> Result<(), Error> {
        let failed = |cause| Error::Modules { kernel: name.into(), cause };
        let tree = ModuleTree::open(&directory.join(MODULES)).map_err(failed)?;
        if let Some(maker) = self.disk_maker.filter(|_| !tree.is_without_files()) {
            progress(Step::Modules(tree.len()));
            let disk = directory.join(MODULES_DISK);
            modules::make_disk(&tree, maker, &disk, &description.abilities).map_err(|cause| match cause {
                modules::Error::Disk(cause) => {
                    Error::Store { what: "the disk of its modules", store: self.directory.clone(), cause }
                }
                cause => failed(cause),
            })?;
            modules::keep_for_boot(&directory.join(MODULES), &tree, &boot_modules(&tree)).map_err(failed)?;
        }
        prepare_archives(name, directory, description)?;
        sums::write(directory).map_err(|cause| Error::Write { path: directory.to_owned(), cause })
    }

    /// Reads all of a kernel again: an error if it is not what was stored.
    pub fn check(&self, kernel: &Kernel) -> Result<(), Error> {
        match sums::differing(&kernel.directory) {
            Ok(None) => Ok(()),
            Ok(Some(file)) => Err(Error::Damaged {
                name: kernel.name.clone(),
                why: format!("{file} is not what was stored"),
            }),
            Err(cause) => Err(Error::Read { path: kernel.directory.clone(), cause }),
        }
    }

    /// What a kernel takes on disk: bytes that the file system has allocated.
    pub fn allocated(&self, kernel: &Kernel) -> Result<u64, Error> {
        allocated(&kernel.directory).map_err(|cause| Error::Read { path: kernel.directory.clone(), cause })
    }

    fn publish(
        &self,
        staging: Staging,
        name: &str,
        description: Description,
        replace: bool,
    ) -> Result<Kernel, Error> {
        let lock = self.lock()?;
        let directory = self.directory.join(name);
        let failed = |cause| Error::Write { path: directory.clone(), cause };
        let kernel = match self.get(name) {
            // One that has no disk was added by an older vmrun.
            Ok(known)
                if known.identity == description.identity && has_disk(&known.directory, staging.path()) =>
            {
                known
            }
            Ok(known) if known.identity != description.identity && !replace => {
                return Err(Error::Exists(name.into()));
            }
            Err(Error::NotFound(_)) if directory.is_dir() && !replace => {
                return Err(Error::Damaged { name: name.into(), why: format!("it has no {DESCRIPTION}") });
            }
            Err(Error::NotFound(_)) if !directory.is_dir() => {
                staging.publish(&lock, &directory).map_err(failed)?;
                Kernel::new(name, directory, description)
            }
            Err(other) if !(replace && is_damaged(&other)) => return Err(other),
            Ok(_) | Err(_) => {
                staging.replace(&lock, &directory).map_err(failed)?;
                Kernel::new(name, directory, description)
            }
        };
        // Also for a known one: who added it may have been killed right here. Or who removed the default one.
        let default = self.default_name()?;
        if !default.is_some_and(|name| check_name(&name).is_ok() && self.directory.join(name).is_dir()) {
            self.write_default(name, &lock)?;
        }
        Ok(kernel)
    }

    fn write_default(&self, name: &str, _lock: &StoreLock) -> Result<(), Error> {
        let path = self.directory.join(DEFAULT);
        crate::kernel::write_whole(&path, name.as_bytes()).map_err(|cause| Error::Write { path, cause })
    }

    fn lock(&self) -> Result<StoreLock, Error> {
        StoreLock::acquire(&self.directory)
            .map_err(|cause| Error::Open { path: self.directory.clone(), cause })
    }
}

/// Whether what the store says of a kernel's directory is that nobody can use it: its description makes no sense, or
/// is gone.
fn is_damaged(error: &Error) -> bool {
    matches!(error, Error::Damaged { .. } | Error::NotFound(_))
}

/// Whether the known kernel has a disk of its modules, if the same one does that is to be added.
fn has_disk(known: &Path, added: &Path) -> bool {
    known.join(MODULES_DISK).is_file() || !added.join(MODULES_DISK).is_file()
}

/// The modules of each feature: what any archive is made of.
fn boot_modules(tree: &ModuleTree) -> Vec<Vec<&'static str>> {
    let of = |feature: Feature| {
        feature
            .options()
            .iter()
            .filter_map(|option| option.module)
            .filter(|module| tree.has(module))
            .collect()
    };
    Feature::ALL.into_iter().map(of).collect()
}

/// Makes the archives that machines of the usual kinds will ask for, so that no start waits for them.
fn prepare_archives(name: &str, directory: &Path, description: &Description) -> Result<(), Error> {
    let kernel = Kernel::new(name, directory.to_owned(), description.clone());
    for (needs, later) in [(MACHINE_WITH_PMEM, LATER), (MACHINE_WITH_BLOCK, LATER), (EMULATED_HOST, &[])] {
        if description.abilities.usable(needs) {
            kernel.modules_archive(needs, later, Signatures::Dropped)?;
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Error> {
    let fits = name.len() <= LONGEST_NAME
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-~:".contains(&byte));
    if fits { Ok(()) } else { Err(Error::Name(name.into())) }
}

fn shown(sources: &[Source]) -> String {
    let shown: Vec<_> = sources.iter().map(|source| source.path.display().to_string()).collect();
    shown.join(" and ")
}

#[cfg(test)]
#[path = "store_test.rs"]
mod tests;

#[cfg(test)]
#[path = "store_packages_test.rs"]
mod package_tests;

#[cfg(test)]
#[path = "store_disk_test.rs"]
mod disk_tests;

#[cfg(test)]
#[path = "store_choice_test.rs"]
mod choice_tests;

#[cfg(test)]
#[path = "store_crash_test.rs"]
mod crash_tests;
