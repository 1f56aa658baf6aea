//! A stored kernel.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ability::{Abilities, Ability};
use crate::config::ConfigSource;
use crate::feature::Feature;
use crate::modules::{self, ModuleTree, Signatures};
use crate::source::Provenance;
use crate::staging::WRITING;
use crate::store::Error;

pub(crate) const DESCRIPTION: &str = "kernel.json";
pub(crate) const VMLINUX: &str = "vmlinux";
pub(crate) const MODULES: &str = "modules";
pub(crate) const MODULES_DISK: &str = "modules.disk";
pub(crate) const CONFIG: &str = "config";
pub(crate) const ARCHIVES: &str = "archives";

/// What is written down about a kernel when it is added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The release, as `uname -r` shows it.
    pub version: String,
    pub config_source: ConfigSource,
    /// The least memory that a machine with this kernel can start in, in bytes: an estimate.
    pub minimum_memory: u64,
    /// Whether the kernel loads no module without a signature that it knows.
    pub insists_on_signatures: bool,
    /// How many relocations its image carries: with them, it can be put at another address at each start. Unknown for
    /// kernels that an older vmrun added.
    #[serde(default)]
    pub relocations: Option<usize>,
    /// Whether the kernel can trace its functions. Unknown for kernels that an older vmrun added, or without a
    /// configuration.
    #[serde(default)]
    pub traces_functions: Option<bool>,
    /// How many modules there are as files.
    pub modules: usize,
    pub abilities: Abilities,
    /// SHA-256 over everything that was stored: tells the same kernel added twice from another.
    pub identity: String,
    /// What was stored, in bytes, before anything was unpacked.
    #[serde(default)]
    pub size: u64,
    /// What it was taken from.
    #[serde(default)]
    pub sources: Vec<Provenance>,
}

/// A kernel of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kernel {
    pub name: String,
    #[serde(flatten)]
    pub description: Description,
    /// The unpacked kernel, an ELF file.
    pub vmlinux: PathBuf,
    #[serde(skip)]
    pub(crate) directory: PathBuf,
    #[serde(skip)]
    place: Place,
}

impl std::ops::Deref for Kernel {
    type Target = Description;

    fn deref(&self) -> &Description {
        &self.description
    }
}

/// Device and inode of a kernel's directory: another kernel by that name has others. None of one that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(Option<(u64, u64)>);

impl Place {
    pub fn of(directory: &Path) -> Place {
        Place(directory.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino())))
    }
}

impl Description {
    /// The first two numbers of the version: `(6, 12)` of `6.12.95-cloud-amd64`.
    pub fn release(&self) -> (u32, u32) {
        release(&self.version)
    }
}

/// The first two numbers of a version.
pub(crate) fn release(version: &str) -> (u32, u32) {
    let mut numbers = version.split(['.', '-', '+']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

impl Kernel {
    pub(crate) fn new(name: &str, directory: PathBuf, description: Description) -> Kernel {
        let place = Place::of(&directory);
        Kernel::in_place(name, directory, place, description)
    }

    /// Of a description that was read after `place`.
    pub(crate) fn in_place(name: &str, directory: PathBuf, place: Place, description: Description) -> Kernel {
        Kernel { name: name.into(), description, vmlinux: directory.join(VMLINUX), directory, place }
    }

    /// An error if the store has another kernel by this name by now, or none. Whoever has opened a kernel's files
    /// by their paths asks this after, and knows then that they are of one kernel.
    pub fn require_in_place(&self) -> Result<(), Error> {
        match Place::of(&self.directory) == self.place {
            true => Ok(()),
            false => Err(Error::Replaced(self.name.clone())),
        }
    }

    /// The directory that holds of `lib/modules/VERSION`, as it was shipped, what archives are made of; empty
    /// when the kernel came without modules.
    pub fn modules_directory(&self) -> PathBuf {
        self.directory.join(MODULES)
    }

    /// Whether the kernel reads ACPI tables, as far as can be told.
    pub fn has_acpi(&self) -> bool {
        !matches!(self.abilities.of(Feature::VirtioMmioAcpi), Ability::Absent { missing } if missing == "CONFIG_ACPI")
    }

    /// The disk with all of `lib/modules/VERSION`: none when the kernel came without modules, or was added to a
    /// store that makes no disks.
    pub fn modules_disk(&self) -> Option<PathBuf> {
        Some(self.directory.join(MODULES_DISK)).filter(|disk| disk.is_file())
    }

    /// Whether the kernel can lie at another address at each start, in words.
    pub fn kaslr(&self) -> String {
        match self.relocations {
            Some(0) => "no: its image carries no relocations".into(),
            Some(count) => format!("{count} relocations"),
            None => "unknown: an older vmrun added it".into(),
        }
    }

    /// Says which option the kernel lacks, when it cannot offer one of `needs`.
    pub fn require(&self, needs: &[Feature]) -> Result<(), Error> {
        for feature in needs {
            if let Ability::Absent { missing } = self.abilities.of(*feature) {
                return Err(Error::Lacks {
                    kernel: self.name.clone(),
                    feature: *feature,
                    missing: missing.clone(),
                });
            }
        }
        Ok(())
    }

    /// The initramfs archive with the modules that `needs` rest on, uncompressed, in load order
    /// (`/modules/NN-name.ko`); without those that are built in. Those that only `later` rests on,
    /// where the kernel has them, are in a directory of their own (`/later-modules`), to be loaded
    /// when nobody waits any more. The archive is made once and kept. A kernel that insists on
    /// signatures gets them whatever `signatures` says.
    pub fn modules_archive(
        &self,
        needs: &[Feature],
        later: &[Feature],
        signatures: Signatures,
    ) -> Result<PathBuf, Error> {
        let signatures = if self.insists_on_signatures { Signatures::Kept } else { signatures };
        let path = self.directory.join(ARCHIVES).join(archive_name(needs, later, signatures));
        if path.exists() {
            return Ok(path);
        }
        self.require(needs)?;
        let failed = |cause| Error::Modules { kernel: self.name.clone(), cause };
        let tree = ModuleTree::open(&self.modules_directory()).map_err(failed)?;
        let usable: Vec<Feature> =
            later.iter().copied().filter(|feature| self.abilities.usable(&[*feature])).collect();
        let mut roots = self.module_roots(needs, &tree);
        let first = modules::load_order(&tree, &roots).map_err(failed)?;
        roots.extend(self.module_roots(&usable, &tree));
        // Roots that are added at the end change nothing before it. What cannot be had is not missed.
        let all = modules::load_order(&tree, &roots).unwrap_or_default();
        let later = all.get(first.len()..).unwrap_or_default();
        let archive = modules::write_archive(&tree, &first, later, signatures).map_err(failed)?;
        write_whole(&path, &archive).map_err(|cause| Error::Write { path: path.clone(), cause })?;
        Ok(path)
    }

    /// The modules that the features themselves name, as far as they are not built in.
    fn module_roots(&self, needs: &[Feature], tree: &ModuleTree) -> Vec<&'static str> {
        let options = needs.iter().flat_map(|feature| feature.options());
        // What is required but no file is built in: `require` has seen to that.
        options.filter_map(|option| option.module).filter(|module| tree.has(module)).collect()
    }
}

/// Features in the order they are asked for decide the archive, so they make its name.
fn archive_name(needs: &[Feature], later: &[Feature], signatures: Signatures) -> String {
    let mut name = String::from(match signatures {
        Signatures::Kept => "signed",
        Signatures::Dropped => "modules",
    });
    for (mark, feature) in needs.iter().map(|need| ('-', need)).chain(later.iter().map(|later| ('+', later)))
    {
        name.push(mark);
        name.extend(feature.name().chars().filter(char::is_ascii_alphanumeric));
    }
    name + ".cpio"
}

/// Makes `path` appear whole or not at all; whoever else makes it makes the same. Its directory is made, but not what
/// that is in: a kernel that was removed meanwhile must not come back as an empty directory.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mut file = tempfile::Builder::new().prefix(WRITING).tempfile_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_data()?;
    file.persist(path)?;
    File::open(directory)?.sync_all()
}

impl fmt::Display for Kernel {
    /// What `vmrun kernel inspect` shows: one fact a line.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "{:<26} {}", "name", self.name)?;
        writeln!(to, "{:<26} {}", "version", self.version)?;
        writeln!(to, "{:<26} {}", "vmlinux", self.vmlinux.display())?;
        writeln!(to, "{:<26} {}", "config from", self.config_source)?;
        writeln!(to, "{:<26} {}", "modules", self.modules)?;
        writeln!(to, "{:<26} {} MiB", "minimum memory", self.minimum_memory >> 20)?;
        writeln!(to, "{:<26} {}", "KASLR", self.kaslr())?;
        for (feature, ability) in self.abilities.iter() {
            writeln!(to, "{feature:<26} {ability}")?;
        }
        Ok(())
    }
}
