//! Directories with `boot/` and `lib/modules/`, such as the host's own root.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use super::collection::Collection;

/// What a file is to a kernel, by where it lies below the root.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// `boot/vmlinuz-VERSION`, `boot/vmlinux-VERSION` or `lib/modules/VERSION/vmlinuz`.
    Image(String),
    /// `boot/config-VERSION` or `lib/modules/VERSION/config`.
    Config(String),
    /// `lib/modules/VERSION/PATH`, with or without a `usr/` before it.
    ModuleFile { version: PathBuf, path: PathBuf },
}

/// Tells what the file at `path`, relative to the root, is.
pub fn place(path: &Path) -> Option<Place> {
    let path = path.strip_prefix("usr").unwrap_or(path);
    if let Ok(rest) = path.strip_prefix("lib/modules") {
        let mut components = rest.components();
        let version = Path::new(components.next()?.as_os_str());
        let path = components.as_path();
        let named = version.to_string_lossy().into_owned();
        return match path.to_str() {
            Some("") => None,
            Some("vmlinuz" | "vmlinux") => Some(Place::Image(named)),
            Some("config") => Some(Place::Config(named)),
            Some(other) if is_left_out(other) => None,
            _ => Some(Place::ModuleFile { version: version.to_owned(), path: path.to_owned() }),
        };
    }
    let name = path.strip_prefix("boot").ok()?.to_str()?;
    let image = name.strip_prefix("vmlinuz-").or_else(|| name.strip_prefix("vmlinux-"));
    match (image, name.strip_prefix("config-")) {
        (Some(version), _) => Some(Place::Image(version.into())),
        (_, Some(version)) => Some(Place::Config(version.into())),
        _ => None,
    }
}

/// For `ROOT/boot/vmlinuz-VERSION`, when `ROOT` has that version's modules: the root and version.
/// A kernel named by its file then brings along what belongs to it.
pub fn of_kernel(file: &Path) -> Option<(PathBuf, String)> {
    let file = file.canonicalize().ok()?;
    let boot = file.parent()?;
    let root = boot.parent()?;
    let Some(Place::Image(version)) = place(file.strip_prefix(root).ok()?) else { return None };
    modules_directory(root, &version).map(|_| (root.to_owned(), version))
}

/// Adds a kernel of `root` with its modules to the collection: the one of `version`; without
/// that, the only one, or the running one when `root` is `/`.
pub fn collect(root: &Path, version: Option<&str>, into: &mut Collection) -> Result<(), Error> {
    let images = images(root)?;
    let version = match version {
        Some(version) => Some(version.to_owned()),
        None => choose(root, &images)?,
    };
    match &version {
        Some(version) => {
            let image = images.get(version).ok_or_else(|| {
                Error::Nothing(format!("there is no kernel of version {version} in {}", root.display()))
            })?;
            into.image(File::open(image).map_err(Error::Read)?)?;
            for config in [root.join(format!("boot/config-{version}")), in_modules(root, version, "config")] {
                if let Some(config) = open_if_there(&config)? {
                    into.config(config)?;
                    break;
                }
            }
            modules(root, version, into)
        }
        // Modules without a kernel may go with a kernel from another source.
        None => {
            let version = only_modules(root)?;
            modules(root, &version, into)
        }
    }
}

/// Every kernel image of `root` by its version.
fn images(root: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut images = BTreeMap::new();
    for name in names(&root.join("boot"))? {
        let path = Path::new("boot").join(&name);
        if let Some(Place::Image(version)) = place(&path) {
            images.insert(version, root.join(path));
        }
    }
    for version in module_versions(root)? {
        for name in ["vmlinuz", "vmlinux"] {
            let image = in_modules(root, &version, name);
            if image.is_file() {
                images.entry(version.clone()).or_insert(image);
            }
        }
    }
    Ok(images)
}

fn choose(root: &Path, images: &BTreeMap<String, PathBuf>) -> Result<Option<String>, Error> {
    let running = rustix::system::uname().release().to_string_lossy().into_owned();
    let is_host = root.canonicalize().is_ok_and(|root| root == Path::new("/"));
    let mut versions = images.keys();
    match (versions.next(), versions.next()) {
        _ if is_host && images.contains_key(&running) => Ok(Some(running)),
        (Some(only), None) => Ok(Some(only.clone())),
        (None, _) => Ok(None),
        (Some(first), Some(_)) => {
            let all: Vec<_> = images.keys().map(String::as_str).collect();
            Err(Error::Several(all.join(", "), first.clone()))
        }
    }
}

fn only_modules(root: &Path) -> Result<String, Error> {
    let mut versions = module_versions(root)?;
    match (versions.pop(), versions.pop()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(Error::Nothing("it has no kernel, and modules of several".into())),
        _ => Err(Error::Nothing(
            "it has neither boot/vmlinuz-VERSION nor lib/modules/VERSION (or usr/lib/modules/VERSION)".into(),
        )),
    }
}

fn module_versions(root: &Path) -> Result<Vec<String>, Error> {
    let mut versions = names(&root.join("lib/modules"))?;
    versions.extend(names(&root.join("usr/lib/modules"))?);
    versions.sort();
    versions.dedup();
    Ok(versions)
}

fn modules(root: &Path, version: &str, into: &mut Collection) -> Result<(), Error> {
    let Some(directory) = modules_directory(root, version) else { return Ok(()) };
    let mut unread = vec![PathBuf::new()];
    while let Some(relative) = unread.pop() {
        for entry in fs::read_dir(directory.join(&relative)).map_err(Error::Read)? {
            let entry = entry.map_err(Error::Read)?;
            let kind = entry.file_type().map_err(Error::Read)?;
            let path = relative.join(entry.file_name());
            if kind.is_dir() {
                unread.push(path);
            } else if kind.is_file() && is_module_file(version, &path) {
                let file = File::open(entry.path()).map_err(Error::Read)?;
                into.module_file(Path::new(version), &path, file)?;
            }
        }
    }
    Ok(())
}

fn is_module_file(version: &str, path: &Path) -> bool {
    matches!(place(&Path::new("lib/modules").join(version).join(path)), Some(Place::ModuleFile { .. }))
}

/// What distributions put beside a kernel's modules and no machine needs: symbols, and checksums of the kernel.
fn is_left_out(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    matches!(stem, "System" | "symvers") && !name.contains('/')
        || matches!(name, ".vmlinuz.hmac" | "vmlinuz.hmac")
}

fn modules_directory(root: &Path, version: &str) -> Option<PathBuf> {
    ["lib/modules", "usr/lib/modules"]
        .iter()
        .map(|modules| root.join(modules).join(version))
        .find(|directory| directory.is_dir())
}

fn in_modules(root: &Path, version: &str, name: &str) -> PathBuf {
    modules_directory(root, version).unwrap_or_else(|| root.join("lib/modules").join(version)).join(name)
}

/// The names in a directory; none when it is missing.
fn names(directory: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(Error::Read(error)),
    };
    let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
    Ok(names.map_err(Error::Read)?.iter().filter_map(|name| OsStr::to_str(name)).map(str::to_owned).collect())
}

fn open_if_there(path: &Path) -> Result<Option<File>, Error> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::Read(error)),
    }
}
