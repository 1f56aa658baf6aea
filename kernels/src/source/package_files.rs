//! A package's files: which of them belong to a kernel. Names come from strangers.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::Error;
use super::collection::Collection;
use super::place::{Place, goes_with, place};

/// A package's files, unpacked, in bytes: what no real kernel reaches and a disk survives.
pub const UNPACKED_LIMIT: u64 = 8 << 30;
pub const ENTRIES_LIMIT: usize = 200_000;
pub const LONGEST_NAME: u64 = 4096;

/// What an entry of a package is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    /// A symbolic or hard link: what it leads to is not here.
    Link,
    Other,
}

/// Takes an entry if it is part of a kernel.
pub fn take(name: &[u8], kind: Kind, content: impl Read, into: &mut Collection) -> Result<(), Error> {
    let path = relative(name)?;
    let Some(place) = place(&path) else { return Ok(()) };
    if let Some(release) = into.release() {
        let is_wanted = match &place {
            Place::Image(name, _) | Place::Config(name) => goes_with(release, name),
            Place::ModuleFile { version, .. } => version.as_os_str() == release,
        };
        into.is_chosen |= is_wanted;
        if !is_wanted {
            return match &place {
                Place::Image(..) => Ok(()),
                Place::Config(version) => into.leave_out(version),
                Place::ModuleFile { version, .. } => into.leave_out(&version.to_string_lossy()),
            };
        }
    }
    match kind {
        Kind::File => store(place, content, into),
        Kind::Link if is_taken(&path) => Err(Error::Hostile(format!("{} is a link", path.display()))),
        Kind::Link | Kind::Other => Ok(()),
    }
}

fn store(place: Place, content: impl Read, into: &mut Collection) -> Result<(), Error> {
    match place {
        Place::Image(version, form) => into.image(Some((&version, form)), content),
        Place::Config(_) => into.config(content),
        Place::ModuleFile { version, path } => into.module_file(&version, &path, content),
    }
    .map_err(|error| match error {
        Error::Read(cause) => damaged(cause),
        other => other,
    })
}

/// Whether something depends on this being a file: links such as `build` and `source` are left
/// out quietly.
fn is_taken(path: &Path) -> bool {
    !matches!(place(path), Some(Place::ModuleFile { path, .. }) if !path.to_string_lossy().contains(".ko"))
}

/// An entry's name as a path below the root.
pub fn relative(name: &[u8]) -> Result<PathBuf, Error> {
    let hostile = || Error::Hostile(format!("it names {}", shown(name)));
    let mut path = PathBuf::new();
    for component in Path::new(std::ffi::OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => return Err(hostile()),
        }
    }
    // Names come to messages and listings.
    if String::from_utf8_lossy(name).contains(char::is_control) { Err(hostile()) } else { Ok(path) }
}

/// What a stranger wrote, fit for one line of a message.
pub fn shown(text: &[u8]) -> String {
    let escaped: String =
        String::from_utf8_lossy(text).chars().take(200).flat_map(char::escape_debug).collect();
    escaped.replace("\\'", "'").replace("\\\"", "\"")
}

pub fn damaged(cause: io::Error) -> Error {
    // The reader of tar archives quotes what it cannot understand.
    Error::Package(shown(cause.to_string().as_bytes()))
}

/// What distributions call x86-64 in packages for newer processors only: machines have the host's, which will tell.
const LEVELS: [&str; 3] = ["x86_64_v2", "x86_64_v3", "x86_64_v4"];

/// Sees that a package is for this architecture; `others` are its distribution's names for it and for any.
pub fn check_architecture(package: &str, architecture: &str, known: &[&str]) -> Result<(), Error> {
    let is_level = known.contains(&"x86_64") && LEVELS.contains(&architecture);
    match known.contains(&architecture) || is_level {
        true => Ok(()),
        false => Err(Error::Architecture {
            package: shown(package.as_bytes()),
            architecture: shown(architecture.as_bytes()),
        }),
    }
}
