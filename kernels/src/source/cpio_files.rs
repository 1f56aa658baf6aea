//! The files in an RPM's payload: a cpio archive of the kind `newc`, or of rpm's own kind that has a file's number in
//! the header in the place of all that is known of it.

use std::io::{self, Read};

use super::Error;
use super::collection::Collection;
use super::package_files::{ENTRIES_LIMIT, Kind, LONGEST_NAME, damaged, take};
use super::rpm_files::{KIND, REGULAR, RpmFile, RpmFiles, SYMLINK};

const MAGIC: usize = 6;
/// What follows the magic of `newc`, and of rpm's own kind.
const FIELDS: usize = 104;
const NUMBER: usize = 8;
const TRAILER: &[u8] = b"TRAILER!!!";

/// Goes through the archive up to its trailer.
pub fn files(mut cpio: impl Read, listed: &RpmFiles, into: &mut Collection) -> Result<(), Error> {
    for _ in 0..ENTRIES_LIMIT {
        let mut magic = [0; MAGIC];
        exactly(&mut cpio, &mut magic)?;
        let file = match &magic {
            b"070701" | b"070702" => named(&mut cpio)?,
            b"07070X" => Some(numbered(&mut cpio, listed)?),
            _ => return Err(Error::Package("a file's header is not one".into())),
        };
        let Some(RpmFile { name, mode, size, is_link }) = file else { return Ok(()) };
        let kind = match mode & KIND {
            REGULAR if !is_link => Kind::File,
            REGULAR | SYMLINK => Kind::Link,
            _ => Kind::Other,
        };
        let mut content = (&mut cpio).take(size);
        take(&name, kind, &mut content, into)?;
        io::copy(&mut content, &mut io::sink()).map_err(damaged)?;
        if content.limit() > 0 {
            return Err(Error::Package("it is cut off".into()));
        }
        skip(&mut cpio, padding(size))?;
    }
    Err(Error::Limit("the number of a package's files", ENTRIES_LIMIT.to_string()))
}

/// A file that says what it is; none at the trailer.
fn named(cpio: &mut impl Read) -> Result<Option<RpmFile>, Error> {
    let mut header = [0; FIELDS];
    exactly(cpio, &mut header)?;
    let (mode, links) = (field(&header, 1)?, field(&header, 4)?);
    let (size, name_size) = (u64::from(field(&header, 6)?), u64::from(field(&header, 11)?));
    if !(2..=LONGEST_NAME).contains(&name_size) {
        return Err(Error::Package(format!("a file's name has {name_size} bytes")));
    }
    // Header and name together, and the content, end at multiples of four.
    let mut name = vec![0; name_size as usize];
    exactly(cpio, &mut name)?;
    skip(cpio, padding((MAGIC + FIELDS) as u64 + name_size))?;
    if name.pop() != Some(0) {
        return Err(Error::Package("a file's name has no end".into()));
    }
    // All but one of a file's names come without its content.
    let is_link = links > 1 && size == 0;
    Ok((name != TRAILER).then_some(RpmFile { name, mode, size, is_link }))
}

/// A file that the package's header says all of.
fn numbered(cpio: &mut impl Read, listed: &RpmFiles) -> Result<RpmFile, Error> {
    let mut number = [0; NUMBER];
    exactly(cpio, &mut number)?;
    skip(cpio, padding((MAGIC + NUMBER) as u64))?;
    listed.get(field(&number, 0)?)
}

/// The field of that number: eight hexadecimal digits.
fn field(header: &[u8], number: usize) -> Result<u32, Error> {
    let digits = header.get(number * 8..).and_then(|rest| rest.get(..8)).unwrap_or_default();
    let text =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    text.and_then(|text| u32::from_str_radix(text, 16).ok())
        .ok_or_else(|| Error::Package("a file's header is not one".into()))
}

fn padding(length: u64) -> u64 {
    length.next_multiple_of(4) - length
}

fn skip(from: &mut impl Read, bytes: u64) -> Result<(), Error> {
    exactly(from, &mut [0; 4][..bytes as usize])
}

fn exactly(from: &mut impl Read, buffer: &mut [u8]) -> Result<(), Error> {
    from.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::Package("it is cut off".into()),
        _ => damaged(error),
    })
}
