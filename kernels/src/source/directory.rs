//! Trees of files with `boot/` and `lib/modules/`, such as the host's own root or an image's.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Error;
use super::collection::Collection;
use super::file_tree::{Entry, EntryKind, FileTree, HostTree};

/// How many releases a message lists, and how long the name of Arch's package may be.
const MOST_LISTED: usize = 20;
const LONGEST_PACKAGE: u64 = 256;
/// What no real tree has.
const MOST_KERNELS: usize = 1000;

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

/// Which of several kernels is to be taken.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'a> {
    /// This one, by its release or the name that its image has in `boot`.
    pub release: Option<&'a str>,
    /// Without that, this one if it is there.
    pub preferred: Option<&'a str>,
}

/// Adds a kernel of the tree with its modules to the collection: the one that is chosen, or the only one.
pub fn collect(tree: &dyn FileTree, choice: Choice<'_>, into: &mut Collection) -> Result<(), Error> {
    let images = images(tree)?;
    // Modules without a kernel may go with a kernel from another source.
    let chosen = choose(tree, choice, &images)?;
    into.is_chosen |= choice.release.is_some();
    let Some((release, image)) = chosen else {
        return modules(tree, &only_modules(tree, choice.release)?, into);
    };
    into.image(open(tree, &image.path)?)?;
    for other in module_versions(tree)?.iter().filter(|version| *version != release) {
        into.leave_out(other)?;
    }
    let named = image.name.as_deref().map(|name| format!("boot/config-{name}").into());
    let beside = modules_directory(tree, release)?.map(|directory| directory.join("config"));
    for config in named.into_iter().chain([format!("boot/config-{release}").into()]).chain(beside) {
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
    /// What stands behind `vmlinuz-`, if it lies in `boot`.
    name: Option<String>,
}

/// Every kernel image of the tree by its release, as far as names tell that.
fn images(tree: &dyn FileTree) -> Result<BTreeMap<String, Image>, Error> {
    let releases = module_versions(tree)?;
    let mut named = Vec::new();
    for name in names(tree, Path::new("boot"), EntryKind::Other)? {
        let path = Path::new("boot").join(&name);
        if let Some(Place::Image(name)) = place(&path) {
            named.push((name, path));
        }
    }
    if named.len().max(releases.len()) > MOST_KERNELS {
        return Err(Error::Limit("the number of kernels in it", MOST_KERNELS.to_string()));
    }
    let packages = packages(tree, &releases)?;
    let is_alone = named.len() == 1;
    let mut images = BTreeMap::new();
    for (name, path) in named {
        let release = release(&name, &releases, &packages, is_alone).unwrap_or(&name).clone();
        images.insert(release, Image { path, name: Some(name) });
    }
    for release in &releases {
        let Some(directory) = modules_directory(tree, release)? else { continue };
        for name in ["vmlinuz", "vmlinux"] {
            let path = directory.join(name);
            if !images.contains_key(release) && tree.open(&path).map_err(Error::Read)?.is_some() {
                images.insert(release.clone(), Image { path, name: None });
            }
        }
    }
    Ok(images)
}

/// The names of Arch's packages (`linux`, as in `boot/vmlinuz-linux`), which their modules have beside them, with the
/// releases.
fn packages(tree: &dyn FileTree, releases: &[String]) -> Result<BTreeMap<String, String>, Error> {
    let mut packages = BTreeMap::new();
    for release in releases {
        let Some(directory) = modules_directory(tree, release)? else { continue };
        let Some(file) = tree.open(&directory.join("pkgbase")).map_err(Error::Read)? else { continue };
        let mut name = String::new();
        if file.take(LONGEST_PACKAGE).read_to_string(&mut name).is_ok() {
            packages.insert(name.trim_end().to_owned(), release.clone());
        }
    }
    Ok(packages)
}

/// The release of the kernel whose image has this name: that of the modules it goes with.
fn release<'a>(
    name: &str,
    releases: &'a [String],
    packages: &'a BTreeMap<String, String>,
    is_alone: bool,
) -> Option<&'a String> {
    let exactly = releases.iter().find(|release| *release == name);
    let mut alike = releases.iter().filter(|release| goes_with(release, name));
    match (alike.next(), alike.next(), releases) {
        _ if exactly.is_some() => exactly,
        _ if packages.contains_key(name) => packages.get(name),
        (Some(release), None, _) => Some(release),
        (None, _, [release]) if is_alone => Some(release),
        _ => None,
    }
}

/// Whether an image of this name may be the one of that release, as Alpine's `vmlinuz-virt` is of `6.6.1-0-virt`.
pub fn goes_with(release: &str, name: &str) -> bool {
    release == name || release.strip_suffix(name).is_some_and(|rest| rest.ends_with('-'))
}

fn choose<'a>(
    tree: &dyn FileTree,
    choice: Choice<'a>,
    images: &'a BTreeMap<String, Image>,
) -> Result<Option<(&'a str, &'a Image)>, Error> {
    let named = |(release, image): (&'a String, &'a Image)| (release.as_str(), image);
    if let Some(wanted) = choice.release {
        let found = images
            .get_key_value(wanted)
            .or_else(|| images.iter().find(|(_, image)| image.name.as_deref() == Some(wanted)));
        return match found {
            Some(image) => Ok(Some(named(image))),
            // An image whose name goes with several releases is known by that name so far.
            None if modules_directory(tree, wanted)?.is_some() => Ok(images
                .iter()
                .filter(|(release, _)| goes_with(wanted, release))
                .max_by_key(|(release, _)| release.len())
                .map(|(_, image)| (wanted, image))),
            None => Err(Error::NoRelease { wanted: wanted.into(), found: listed(images.keys()) }),
        };
    }
    if let Some(preferred) = choice.preferred.and_then(|preferred| images.get_key_value(preferred)) {
        return Ok(Some(named(preferred)));
    }
    match images.len() {
        0 | 1 => Ok(images.iter().next().map(named)),
        _ => Err(Error::Several(listed(images.keys()))),
    }
}

/// As one line has room for.
fn listed<'a>(releases: impl Iterator<Item = &'a String>) -> String {
    let mut shown: Vec<_> = releases.map(String::as_str).collect();
    let others = shown.len().saturating_sub(MOST_LISTED);
    shown.truncate(MOST_LISTED);
    match (shown.is_empty(), others) {
        (true, _) => "none".into(),
        (false, 0) => shown.join(", "),
        (false, others) => format!("{} and {others} more", shown.join(", ")),
    }
}

fn only_modules(tree: &dyn FileTree, wanted: Option<&str>) -> Result<String, Error> {
    if let Some(wanted) = wanted {
        return Ok(wanted.into());
    }
    let mut versions = module_versions(tree)?;
    match (versions.pop(), versions.pop()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(Error::Nothing(format!(
            "it has no kernel, and modules of several ({}): choose one with --release",
            listed(module_versions(tree)?.iter())
        ))),
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

fn open<'a>(tree: &'a dyn FileTree, path: &Path) -> Result<Box<dyn Read + 'a>, Error> {
    let file = tree.open(path).map_err(Error::Read)?;
    file.ok_or_else(|| Error::Nothing(format!("{} in it is no file", path.display())))
}
