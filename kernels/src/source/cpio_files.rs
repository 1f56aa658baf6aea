//! The files in an RPM's payload: a cpio archive of the kind `newc`.

use std::io::{self, Read};

use super::Error;
use super::collection::Collection;
use super::package_files::{ENTRIES_LIMIT, Kind, LONGEST_NAME, damaged, take};

const HEADER: usize = 110;
const TRAILER: &[u8] = b"TRAILER!!!";
/// The part of a mode that says what a file is.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// Goes through the archive up to its trailer.
pub fn files(mut cpio: impl Read, into: &mut Collection) -> Result<(), Error> {
    for _ in 0..ENTRIES_LIMIT {
        let mut header = [0; HEADER];
        exactly(&mut cpio, &mut header)?;
        match &header[..6] {
            b"070701" | b"070702" => {}
            b"07070X" => return Err(Error::Package("it has files of more than 4 GiB".into())),
            _ => return Err(Error::Package("a file's header is not one".into())),
        }
        let (mode, links) = (field(&header, 1)?, field(&header, 4)?);
        let (size, name_size) = (u64::from(field(&header, 6)?), u64::from(field(&header, 11)?));
        if !(2..=LONGEST_NAME).contains(&name_size) {
            return Err(Error::Package(format!("a file's name has {name_size} bytes")));
        }
        // Header and name together, and the content, end at multiples of four.
        let mut name = vec![0; name_size as usize];
        exactly(&mut cpio, &mut name)?;
        skip(&mut cpio, padding(HEADER as u64 + name_size))?;
        if name.pop() != Some(0) {
            return Err(Error::Package("a file's name has no end".into()));
        }
        if name == TRAILER {
            return Ok(());
        }
        let kind = match mode & KIND {
            // All but one of a file's names come without its content.
            REGULAR if links > 1 && size == 0 => Kind::Link,
            REGULAR => Kind::File,
            SYMLINK => Kind::Link,
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

/// The field of that number: eight hexadecimal digits.
fn field(header: &[u8; HEADER], number: usize) -> Result<u32, Error> {
    let digits = &header[6 + number * 8..][..8];
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
