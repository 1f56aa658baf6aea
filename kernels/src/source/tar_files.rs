//! The files in a package's tar archive: GNU's and POSIX's long names, within bounds.

use std::io::Read;
use std::path::Path;

use super::Error;
use super::collection::Collection;
use super::package_files::{ENTRIES_LIMIT, Kind, LONGEST_NAME, damaged, relative, take};
use crate::bounded::Bounded;

/// The headers of POSIX archives, in bytes: a name, times and digests.
const HEADERS_LIMIT: u64 = 64 << 10;
/// Documents about the package, in bytes.
const ABOUT_LIMIT: u64 = 1 << 20;

/// What packages say of themselves, in files beside the others.
pub type About<'a> = &'a mut dyn FnMut(&Path, &str);

/// Goes through the archive to its end, so that damage anywhere in it is seen. What lies at its top and may be
/// about the package (`./control`, `.PKGINFO`) is handed to `about`; files are left out where nothing is to have them.
pub fn files(tar: impl Read, mut into: Option<&mut Collection>, about: About) -> Result<(), Error> {
    let mut tar = tar::Archive::new(tar);
    // An Alpine package is several archives, of which the first ones may lack their ends.
    tar.set_ignore_zeros(true);
    let mut long_name: Option<Vec<u8>> = None;
    // Raw: long names are then read by us, within bounds.
    for (number, entry) in tar.entries().map_err(damaged)?.raw(true).enumerate() {
        if number >= ENTRIES_LIMIT {
            return Err(Error::Limit("the number of a package's files", ENTRIES_LIMIT.to_string()));
        }
        let mut entry = entry.map_err(damaged)?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            long_name = Some(read_long_name(&mut entry)?);
            continue;
        }
        if kind.is_pax_local_extensions() {
            long_name = read_headers(&mut entry)?.or(long_name);
            continue;
        }
        if kind.is_gnu_longlink() || kind.is_pax_global_extensions() {
            continue;
        }
        let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
        if kind.is_file() && is_about(&name) {
            let mut text = Vec::new();
            Bounded::new(&mut entry, ABOUT_LIMIT, "what the package says of itself")
                .read_to_end(&mut text)
                .map_err(damaged)?;
            about(&relative(&name)?, &String::from_utf8_lossy(&text));
            continue;
        }
        let kind = match () {
            () if kind.is_file() => Kind::File,
            () if kind.is_symlink() || kind.is_hard_link() => Kind::Link,
            () => Kind::Other,
        };
        if let Some(into) = &mut into {
            take(&name, kind, &mut entry, into)?;
        }
    }
    Ok(())
}

fn is_about(name: &[u8]) -> bool {
    let name = name.strip_prefix(b"./").unwrap_or(name);
    matches!(name, b"control" | b".PKGINFO") || name.starts_with(b".SIGN.") && !name.contains(&b'/')
}

fn read_long_name(entry: &mut impl Read) -> Result<Vec<u8>, Error> {
    let mut name = Vec::new();
    Bounded::new(entry, LONGEST_NAME, "a file's name").read_to_end(&mut name).map_err(damaged)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    Ok(name)
}

/// The name in a POSIX header (`LENGTH KEY=VALUE\n` …), if there is one.
fn read_headers(entry: &mut impl Read) -> Result<Option<Vec<u8>>, Error> {
    let mut headers = Vec::new();
    Bounded::new(entry, HEADERS_LIMIT, "a file's header").read_to_end(&mut headers).map_err(damaged)?;
    let mut rest = headers.as_slice();
    let mut name = None;
    let malformed = || Error::Package("a file's header is not one".into());
    while !rest.is_empty() {
        let space = rest.iter().take(8).position(|byte| *byte == b' ').ok_or_else(malformed)?;
        let length = std::str::from_utf8(&rest[..space]).ok().and_then(|length| length.parse::<usize>().ok());
        let length = length.filter(|length| *length > space + 1).ok_or_else(malformed)?;
        let record = rest
            .get(space + 1..length)
            .and_then(|record| record.strip_suffix(b"\n"))
            .ok_or_else(malformed)?;
        if let Some(path) = record.strip_prefix(b"path=") {
            name = Some(path.to_vec());
        } else if record.starts_with(b"size=") || record.starts_with(b"GNU.sparse") {
            return Err(Error::Package("it has sparse files, or some of more than 8 GiB".into()));
        }
        rest = &rest[length..];
    }
    match name.as_ref().is_some_and(|name| name.len() as u64 > LONGEST_NAME) {
        true => Err(Error::Limit("a file's name", format!("{LONGEST_NAME} bytes"))),
        false => Ok(name),
    }
}
