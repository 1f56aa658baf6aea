//! Trees of files with `boot/` and `lib/modules/`, such as the host's own root or an image's.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Error;
use super::collection::Collection;
use super::file_tree::{Entry, EntryKind, FileTree, HostTree};
use super::package_files::shown;
use super::place::{Form, Place, goes_with, is_headers, place};

/// How many releases a message lists, and how long the name of Arch's package may be.
const MOST_LISTED: usize = 20;
const LONGEST_PACKAGE: u64 = 256;
/// What no real tree has.
const MOST_KERNELS: usize = 1000;

/// For `ROOT/boot/vmlinuz-VERSION`, when `ROOT` has that version's modules: the root and version.
/// A kernel named by its file then brings along what belongs to it.
pub fn of_kernel(file: &Path) -> Option<(PathBuf, String)> {
    let file = file.canonicalize().ok()?;
    let boot = file.parent()?;
    let root = boot.parent()?;
    let Some(Place::Image(version, _)) = place(file.strip_prefix(root).ok()?) else { return None };
    let tree = HostTree::new(root);
    modules_directory(&tree, &version).ok()?.map(|_| (root.to_owned(), version))
}

/// Which of several kernels is to be taken.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'a> {
    /// This one, by its release or the name that its image has in `boot`.
    pub release: Option<&'a str>,
    /// Without that, the one that runs, of this release, where the tree is the host's own.
    pub running: Option<&'a str>,
}

/// Adds a kernel of the tree with its modules to the collection: the one that is chosen, or the only one.
pub fn collect(tree: &dyn FileTree, choice: Choice<'_>, into: &mut Collection) -> Result<(), Error> {
    let Images { by_release, unlisted } = images(tree)?;
    // Modules without a kernel may go with a kernel from another source.
    let chosen = match (choose(tree, choice, &by_release), unlisted) {
        // What was looked for may be where nobody can look.
        (Ok(None) | Err(_), Some(unlisted)) => return Err(unlisted),
        (chosen, _) => chosen?,
    };
    into.is_chosen |= choice.release.is_some();
    let Some((release, image)) = chosen else {
        return modules(tree, &only_modules(tree, choice.release)?, into);
    };
    let of_image = image.name.as_deref().unwrap_or(release);
    into.image(Some((of_image, image.form)), open(tree, &image.path)?).map_err(reading(&image.path))?;
    for other in module_versions(tree)?.iter().filter(|version| *version != release) {
        into.leave_out(other)?;
    }
    let named = image.name.as_deref().map(|name| format!("boot/config-{name}").into());
    let beside = modules_directory(tree, release)?.map(|directory| directory.join("config"));
    for config in named.into_iter().chain([format!("boot/config-{release}").into()]).chain(beside) {
        let found = match opened(tree, &config) {
            // Where images cannot be listed, this is no worse: there may be none.
            Err(error) if error.is_denied() && image.name.is_none() => continue,
            found => found?,
        };
        if let Some(content) = found {
            into.config(content).map_err(reading(&config))?;
            break;
        }
    }
    modules(tree, release, into)
}

/// A kernel image of a tree.
struct Image {
    path: PathBuf,
    form: Form,
    /// What stands behind `vmlinuz-`, if it lies in `boot`.
    name: Option<String>,
}

/// The kernel images of a tree.
struct Images {
    /// By their releases, as far as names tell these.
    by_release: BTreeMap<String, Image>,
    /// Why `boot` may have others.
    unlisted: Option<Error>,
}

fn images(tree: &dyn FileTree) -> Result<Images, Error> {
    let releases = module_versions(tree)?;
    let (in_boot, unlisted) = match names(tree, Path::new("boot"), EntryKind::Other) {
        Ok(names) => (names, None),
        // As a boot loader's partition is mounted on Arch: the image is beside the modules there, too.
        Err(error) if error.is_denied() => (Vec::new(), Some(error)),
        Err(error) => return Err(error),
    };
    let mut named: BTreeMap<String, (Form, PathBuf)> = BTreeMap::new();
    for name in in_boot {
        let path = Path::new("boot").join(&name);
        let Some(Place::Image(name, form)) = place(&path) else { continue };
        if named.get(&name).is_none_or(|(known, _)| *known < form) {
            named.insert(name, (form, path));
        }
    }
    if named.len().max(releases.len()) > MOST_KERNELS {
        return Err(Error::Limit("the number of kernels in it", MOST_KERNELS.to_string()));
    }
    let packages = packages(tree, &releases)?;
    let is_alone = named.len() == 1;
    let mut by_release: BTreeMap<String, Image> = BTreeMap::new();
    for (name, (form, path)) in named {
        let release = release(&name, &releases, &packages, is_alone).unwrap_or(&name).clone();
        if by_release.get(&release).is_none_or(|known| known.form <= form) {
            by_release.insert(release, Image { path, form, name: Some(name) });
        }
    }
    for release in &releases {
        let Some(directory) = modules_directory(tree, release)? else { continue };
        for (name, form) in [("vmlinuz", Form::Vmlinuz), ("vmlinux", Form::Vmlinux)] {
            let path = directory.join(name);
            if !by_release.contains_key(release) && opened(tree, &path)?.is_some() {
                by_release.insert(release.clone(), Image { path, form, name: None });
            }
        }
    }
    Ok(Images { by_release, unlisted })
}

/// The names of Arch's packages (`linux`, as in `boot/vmlinuz-linux`), which their modules have beside them, with the
/// releases.
fn packages(tree: &dyn FileTree, releases: &[String]) -> Result<BTreeMap<String, String>, Error> {
    let mut packages = BTreeMap::new();
    for release in releases {
        let Some(directory) = modules_directory(tree, release)? else { continue };
        let Some(file) = opened(tree, &directory.join("pkgbase"))? else { continue };
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

fn choose<'a>(
    tree: &dyn FileTree,
    choice: Choice<'a>,
    images: &'a BTreeMap<String, Image>,
) -> Result<Option<(&'a str, &'a Image)>, Error> {
    let named = |(release, image): (&'a String, &'a Image)| (release.as_str(), image);
    let found = |wanted: &'a str| {
        let found = images
            .get_key_value(wanted)
            .or_else(|| images.iter().find(|(_, image)| image.name.as_deref() == Some(wanted)));
        if let Some(image) = found {
            return Ok(Some(Some(named(image))));
        }
        if modules_directory(tree, wanted)?.is_none() {
            return Ok(None);
        }
        // An image whose name goes with several releases is known by that name so far.
        let alike = images.iter().filter(|(release, _)| goes_with(wanted, release));
        Ok(Some(alike.max_by_key(|(release, _)| release.len()).map(|(_, image)| (wanted, image))))
    };
    if let Some(wanted) = choice.release {
        let none = || Error::NoRelease { wanted: wanted.into(), found: listed(images.keys()) };
        return found(wanted)?.ok_or_else(none);
    }
    if let Some(running) = choice.running.filter(|_| !images.is_empty()) {
        let none = || Error::NotRunning { running: running.into(), found: listed(images.keys()) };
        return found(running)?.flatten().ok_or_else(none).map(Some);
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
        for entry in entries(tree, &directory.join(&relative))? {
            let path = relative.join(&entry.name);
            match entry.kind {
                EntryKind::Directory if !is_headers(&path) => unread.push(path),
                EntryKind::File if is_module_file(version, &path) => {
                    let file = directory.join(&path);
                    into.module_file(Path::new(version), &path, open(tree, &file)?)
                        .map_err(reading(&file))?;
                }
                EntryKind::Directory | EntryKind::File | EntryKind::Other => {}
            }
        }
    }
    Ok(())
}

fn is_module_file(version: &str, path: &Path) -> bool {
    matches!(place(&Path::new("lib/modules").join(version).join(path)), Some(Place::ModuleFile { .. }))
}

const MODULES: [&str; 2] = ["lib/modules", "usr/lib/modules"];

fn modules_directory(tree: &dyn FileTree, version: &str) -> Result<Option<PathBuf>, Error> {
    for modules in MODULES {
        let directory = Path::new(modules).join(version);
        if !entries(tree, &directory)?.is_empty() {
            return Ok(Some(directory));
        }
    }
    Ok(None)
}

/// The names in a directory of what is of that kind; [`EntryKind::Other`] stands for any.
fn names(tree: &dyn FileTree, directory: &Path, kind: EntryKind) -> Result<Vec<String>, Error> {
    let wanted =
        entries(tree, directory)?.into_iter().filter(|entry| kind == EntryKind::Other || entry.kind == kind);
    // Names come to messages.
    let name = |entry: Entry| entry.name.into_string().ok().filter(|name| !name.contains(char::is_control));
    Ok(wanted.filter_map(name).collect())
}

fn open<'a>(tree: &'a dyn FileTree, path: &Path) -> Result<Box<dyn Read + 'a>, Error> {
    opened(tree, path)?.ok_or_else(|| Error::Nothing(format!("{} in it is no file", path.display())))
}

fn opened<'a>(tree: &'a dyn FileTree, path: &Path) -> Result<Option<Box<dyn Read + 'a>>, Error> {
    tree.open(path).map_err(Error::Read).map_err(reading(path))
}

fn entries(tree: &dyn FileTree, directory: &Path) -> Result<Vec<Entry>, Error> {
    tree.entries(directory).map_err(Error::Read).map_err(reading(directory))
}

/// Says which of the tree's files could not be read.
fn reading(path: &Path) -> impl FnOnce(Error) -> Error {
    move |error| match error {
        Error::Read(cause) => Error::File { path: shown(path.as_os_str().as_bytes()), cause },
        other => other,
    }
}
