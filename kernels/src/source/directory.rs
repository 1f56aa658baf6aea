//! Trees of files with `boot/` and `lib/modules/`, such as the host's own root or an image's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Error;
use super::collection::Collection;
use super::file_tree::{Entry, EntryKind, FileTree, HostTree};

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
    let tree = HostTree::new(root);
    modules_directory(&tree, &version).ok()?.map(|_| (root.to_owned(), version))
}

/// Adds a kernel of the tree with its modules to the collection: the one of `version`; without that, the only one,
/// or the `preferred` one if it is there.
pub fn collect(
    tree: &dyn FileTree,
    version: Option<&str>,
    preferred: Option<&str>,
    into: &mut Collection,
) -> Result<(), Error> {
    let images = images(tree)?;
    let version = match version {
        Some(version) => Some(version.to_owned()),
        None => choose(preferred, &images)?,
    };
    // Modules without a kernel may go with a kernel from another source.
    let Some(version) = version else { return modules(tree, &only_modules(tree)?, into) };
    let image = images.get(&version);
    let image =
        image.ok_or_else(|| Error::Nothing(format!("there is no kernel of version {version} in it")))?;
    into.image(open(tree, &image.path)?)?;
    let release = image.modules.as_ref().unwrap_or(&version);
    let configs = [format!("boot/config-{version}").into(), format!("boot/config-{release}").into()];
    let beside = modules_directory(tree, release)?.map(|directory| directory.join("config"));
    for config in configs.into_iter().chain(beside) {
        if let Some(config) = tree.open(&config).map_err(Error::Read)? {
            into.config(config)?;
            break;
        }
    }
    modules(tree, release, into)
}

/// A kernel image of a tree.
struct Image {
    path: PathBuf,
    /// The version of its modules, where its name says another.
    modules: Option<String>,
}

/// Every kernel image of the tree by the version in its name.
fn images(tree: &dyn FileTree) -> Result<BTreeMap<String, Image>, Error> {
    let mut images = BTreeMap::new();
    for name in names(tree, Path::new("boot"), EntryKind::Other)? {
        let path = Path::new("boot").join(&name);
        if let Some(Place::Image(version)) = place(&path) {
            images.insert(version, Image { path, modules: None });
        }
    }
    let versions = module_versions(tree)?;
    for version in &versions {
        let Some(directory) = modules_directory(tree, version)? else { continue };
        for name in ["vmlinuz", "vmlinux"] {
            let path = directory.join(name);
            if !images.contains_key(version) && tree.open(&path).map_err(Error::Read)?.is_some() {
                images.insert(version.clone(), Image { path, modules: None });
            }
        }
    }
    // Alpine's boot/vmlinuz-virt goes with the only modules that there are.
    if let ([version], 1, Some(image)) = (versions.as_slice(), images.len(), images.values_mut().next()) {
        image.modules = Some(version.clone());
    }
    Ok(images)
}

fn choose(preferred: Option<&str>, images: &BTreeMap<String, Image>) -> Result<Option<String>, Error> {
    let mut versions = images.keys();
    match (versions.next(), versions.next()) {
        _ if preferred.is_some_and(|version| images.contains_key(version)) => {
            Ok(preferred.map(str::to_owned))
        }
        (Some(only), None) => Ok(Some(only.clone())),
        (None, _) => Ok(None),
        (Some(first), Some(_)) => {
            let all: Vec<_> = images.keys().map(String::as_str).collect();
            Err(Error::Several(all.join(", "), first.clone()))
        }
    }
}

fn only_modules(tree: &dyn FileTree) -> Result<String, Error> {
    let mut versions = module_versions(tree)?;
    match (versions.pop(), versions.pop()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(Error::Nothing("it has no kernel, and modules of several".into())),
        _ => Err(Error::Nothing(
            "it has neither boot/vmlinuz-VERSION nor lib/modules/VERSION (or usr/lib/modules/VERSION)".into(),
        )),
    }
}

fn module_versions(tree: &dyn FileTree) -> Result<Vec<String>, Error> {
    let mut versions = Vec::new();
    for directory in MODULES {
        versions.extend(names(tree, Path::new(directory), EntryKind::Directory)?);
    }
    versions.sort();
    versions.dedup();
    Ok(versions)
}

fn modules(tree: &dyn FileTree, version: &str, into: &mut Collection) -> Result<(), Error> {
    let Some(directory) = modules_directory(tree, version)? else { return Ok(()) };
    let mut unread = vec![PathBuf::new()];
    while let Some(relative) = unread.pop() {
        for entry in tree.entries(&directory.join(&relative)).map_err(Error::Read)? {
            let path = relative.join(&entry.name);
            match entry.kind {
                EntryKind::Directory => unread.push(path),
                EntryKind::File if is_module_file(version, &path) => {
                    into.module_file(Path::new(version), &path, open(tree, &directory.join(&path))?)?;
                }
                EntryKind::File | EntryKind::Other => {}
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

const MODULES: [&str; 2] = ["lib/modules", "usr/lib/modules"];

fn modules_directory(tree: &dyn FileTree, version: &str) -> Result<Option<PathBuf>, Error> {
    for modules in MODULES {
        let directory = Path::new(modules).join(version);
        if !tree.entries(&directory).map_err(Error::Read)?.is_empty() {
            return Ok(Some(directory));
        }
    }
    Ok(None)
}

/// The names in a directory of what is of that kind; [`EntryKind::Other`] stands for any.
fn names(tree: &dyn FileTree, directory: &Path, kind: EntryKind) -> Result<Vec<String>, Error> {
    let entries = tree.entries(directory).map_err(Error::Read)?;
    let wanted = entries.into_iter().filter(|entry| kind == EntryKind::Other || entry.kind == kind);
    // Names come to messages.
    let name = |entry: Entry| entry.name.into_string().ok().filter(|name| !name.contains(char::is_control));
    Ok(wanted.filter_map(name).collect())
}

fn open<'a>(tree: &'a dyn FileTree, path: &Path) -> Result<Box<dyn std::io::Read + 'a>, Error> {
    let file = tree.open(path).map_err(Error::Read)?;
    file.ok_or_else(|| Error::Nothing(format!("{} in it is no file", path.display())))
}
