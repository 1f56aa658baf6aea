//! The modules of one kernel, found by name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::modinfo::ModuleInfo;
use super::{Error, MODULE_LIMIT};
use crate::bounded::Bounded;
use crate::compression;

/// What `lib/modules/VERSION` has beside the modules.
pub const ORDER: &str = "modules.order";
pub const BUILT_IN: &str = "modules.builtin";
pub const BUILT_IN_INFO: &str = "modules.builtin.modinfo";

/// The lists of built-in modules are small text files: Debian's have less than one MiB.
const LIST_LIMIT: u64 = 16 << 20;

/// The content of `lib/modules/VERSION`.
#[derive(Debug, Default)]
pub struct ModuleTree {
    directory: PathBuf,
    /// Module name (with underscores) to its file's path below the directory.
    modules: BTreeMap<String, String>,
    built_in: HashSet<String>,
    /// Aliases that built-in modules answer to, such as `crypto-crc32c`.
    built_in_aliases: HashSet<String>,
    /// Modules by the crypto algorithms that they answer to, once somebody has asked.
    crypto: OnceLock<HashMap<String, Vec<String>>>,
}

impl ModuleTree {
    /// Looks through `directory`, which may be missing: a kernel can have no modules.
    pub fn open(directory: &Path) -> Result<ModuleTree, Error> {
        let mut tree = ModuleTree { directory: directory.to_owned(), ..ModuleTree::default() };
        if !directory.exists() {
            return Ok(tree);
        }
        tree.find_modules()?;
        for line in tree.list(BUILT_IN)?.split(|byte| *byte == b'\n') {
            if let Some(name) = std::str::from_utf8(line).ok().and_then(name_of) {
                tree.built_in.insert(name);
            }
        }
        for record in tree.list(BUILT_IN_INFO)?.split(|byte| *byte == 0) {
            let Some((key, value)) =
                std::str::from_utf8(record).ok().and_then(|record| record.split_once('='))
            else {
                continue;
            };
            if key.ends_with(".alias") {
                tree.built_in_aliases.insert(value.to_owned());
            }
        }
        Ok(tree)
    }

    /// Whether nothing at all is known of modules, built in or not.
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty() && self.built_in.is_empty()
    }

    /// Whether there is no module as a file.
    pub fn is_without_files(&self) -> bool {
        self.modules.is_empty()
    }

    /// How many modules there are as files.
    pub fn len(&self) -> usize {
        self.modules.len()
    }

    /// Every module with its file's path below the directory, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.modules.iter().map(|(name, path)| (name.as_str(), path.as_str()))
    }

    /// A file beside the modules, such as `modules.order`; empty when it is missing.
    pub fn list(&self, name: &str) -> Result<Vec<u8>, Error> {
        read_list(&self.directory.join(name))
    }

    pub fn has(&self, name: &str) -> bool {
        self.modules.contains_key(name)
    }

    pub fn is_built_in(&self, name: &str) -> bool {
        self.built_in.contains(name)
    }

    /// The unpacked content of a module.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let (path, unpacked) = self.open_module(name)?;
        let mut content = Vec::new();
        Bounded::new(unpacked, MODULE_LIMIT, "the module")
            .read_to_end(&mut content)
            .map_err(|cause| Error::Read { path, cause })?;
        Ok(content)
    }

    /// The unpacked content of a module, unless it has more than so many bytes.
    pub(super) fn read_at_most(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let (path, unpacked) = self.open_module(name)?;
        let mut content = Vec::new();
        unpacked.take(limit + 1).read_to_end(&mut content).map_err(|cause| Error::Read { path, cause })?;
        Ok(Some(content).filter(|content| content.len() as u64 <= limit))
    }

    fn open_module(&self, name: &str) -> Result<(PathBuf, Box<dyn Read>), Error> {
        let path = self.modules.get(name).ok_or_else(|| Error::Missing { name: name.into() })?;
        let path = self.directory.join(path);
        match File::open(&path).and_then(compression::reader) {
            Ok(unpacked) => Ok((path, unpacked)),
            Err(cause) => Err(Error::Read { path, cause }),
        }
    }

    /// What a module says of itself.
    pub(super) fn info(&self, name: &str) -> Result<ModuleInfo, Error> {
        let content = self.read(name)?;
        ModuleInfo::parse(&content).map_err(|why| self.damaged(name, why))
    }

    pub(super) fn damaged(&self, name: &str, why: String) -> Error {
        let path = self.modules.get(name).map_or_else(|| name.into(), PathBuf::from);
        Error::Damaged { path, why }
    }

    /// Whether a built-in module answers to this alias.
    pub(super) fn built_in_provides(&self, alias: &str) -> bool {
        self.built_in_aliases.contains(alias)
    }

    /// The modules that answer to a crypto algorithm's name, the portable ones first: those load
    /// on every processor.
    pub(super) fn crypto_providers(&self, algorithm: &str) -> Result<&[String], Error> {
        let known = match self.crypto.get() {
            Some(known) => known,
            None => {
                let found = self.find_crypto()?;
                self.crypto.get_or_init(|| found)
            }
        };
        Ok(known.get(algorithm).map_or(&[], Vec::as_slice))
    }

    /// Reads them all, which must not happen again for each name that a hostile module asks for.
    fn find_crypto(&self) -> Result<HashMap<String, Vec<String>>, Error> {
        let mut providers: HashMap<String, Vec<String>> = HashMap::new();
        for (name, _) in self.iter().filter(|(_, path)| path.split('/').any(|part| part == "crypto")) {
            let info = self.info(name)?;
            let mut algorithms: Vec<_> =
                info.aliases.iter().filter_map(|alias| alias.strip_prefix("crypto-")).collect();
            algorithms.sort_unstable();
            algorithms.dedup();
            for algorithm in algorithms {
                providers.entry(algorithm.to_owned()).or_default().push(name.to_owned());
            }
        }
        providers.values_mut().for_each(|names| names.sort_by_key(|name| !name.ends_with("_generic")));
        Ok(providers)
    }

    /// Where two files are the same module, the one that goes before by custom is taken, else the first by name.
    fn find_modules(&mut self) -> Result<(), Error> {
        let mut unread = vec![self.directory.clone()];
        while let Some(directory) = unread.pop() {
            let failed = |cause| Error::Read { path: directory.clone(), cause };
            for entry in fs::read_dir(&directory).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let kind = entry.file_type().map_err(failed)?;
                if kind.is_dir() {
                    unread.push(entry.path());
                } else if kind.is_file()
                    && let Some(name) = module_name(&entry.path())
                {
                    let path = entry.path();
                    let path = path.strip_prefix(&self.directory).unwrap_or(&path);
                    let path = listed(path).ok_or_else(|| Error::Name { path: path.to_owned() })?;
                    let place = self.modules.entry(name).or_insert_with(|| path.to_owned());
                    if rank(path) < rank(place) {
                        *place = path.to_owned();
                    }
                }
            }
        }
        Ok(())
    }
}

/// Drivers that were installed beside the kernel's own go before these, as depmod.d(5) has it by custom.
fn rank(path: &str) -> (u8, &str) {
    let rank = match path.split('/').next() {
        Some("updates") => 0,
        Some("extra") => 1,
        Some("weak-updates") => 3,
        _ => 2,
    };
    (rank, path)
}

/// The path, if the text files of an index can hold it.
fn listed(path: &Path) -> Option<&str> {
    path.to_str().filter(|path| path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':'))
}

/// `kernel/fs/erofs/erofs.ko.xz` is `erofs`; what is no module has no name. The kernel knows
/// modules by names with underscores, whatever their files are called.
pub fn name_of(path: &str) -> Option<String> {
    module_name(Path::new(path))
}

/// Whether this file of `lib/modules/VERSION` is a module, or a list that is read.
pub fn is_file_of_interest(path: &Path) -> bool {
    module_name(path).is_some() || [ORDER, BUILT_IN, BUILT_IN_INFO].iter().any(|list| path == Path::new(list))
}

fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, suffix) = file.split_once(".ko")?;
    matches!(suffix, "" | ".gz" | ".xz" | ".zst").then(|| name.replace('-', "_"))
}

fn read_list(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |cause| Error::Read { path: path.to_owned(), cause };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut list = Vec::new();
    Bounded::new(file, LIST_LIMIT, "the list").read_to_end(&mut list).map_err(failed)?;
    Ok(list)
}
