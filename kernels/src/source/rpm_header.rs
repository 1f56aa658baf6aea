//! The headers of RPM packages (format documentation of rpm, "Package format"): an index of 16-byte records, and a
//! store that these point into.

use std::io::{self, Read};

use super::Error;

const MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 1];
const RECORD: usize = 16;
/// What no kernel's package reaches: rpm's own limit of records, and of bytes a quarter of its.
const RECORDS_LIMIT: u32 = 65_535;
const STORE_LIMIT: u32 = 64 << 20;
/// Types of values.
const NUMBERS: [(u32, usize); 3] = [(3, 2), (4, 4), (5, 8)];
const TEXTS: u32 = 8;
const BINARY: u32 = 7;
const STRINGS: [u32; 3] = [6, 8, 9];

/// A header as it came.
pub struct RpmHeader {
    /// All of it: what digests are made of.
    pub bytes: Vec<u8>,
    records: usize,
}

impl RpmHeader {
    pub fn read(from: &mut impl Read) -> Result<RpmHeader, Error> {
        let mut bytes = vec![0; RECORD];
        from.read_exact(&mut bytes).map_err(cut)?;
        if bytes[..4] != MAGIC {
            return Err(Error::Package("a header of it is not one".into()));
        }
        let (records, store) = (number(&bytes, 8), number(&bytes, 12));
        if records > RECORDS_LIMIT || store > STORE_LIMIT {
            return Err(Error::Package(format!("it has a header of {records} records and {store} bytes")));
        }
        let rest = u64::from(records) * RECORD as u64 + u64::from(store);
        // As much as comes, and not as much as is promised.
        from.take(rest).read_to_end(&mut bytes).map_err(Error::Read)?;
        if (bytes.len() - RECORD) as u64 != rest {
            return Err(cut(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(RpmHeader { bytes, records: records as usize })
    }

    /// A text, or the first of several.
    pub fn text(&self, tag: u32) -> Option<&str> {
        let (kind, value, _) = self.value(tag)?;
        let end = value.iter().position(|byte| *byte == 0)?;
        if !STRINGS.contains(&kind) {
            return None;
        }
        std::str::from_utf8(&value[..end]).ok()
    }

    pub fn binary(&self, tag: u32) -> Option<&[u8]> {
        let (kind, value, count) = self.value(tag)?;
        if kind == BINARY { value.get(..count) } else { None }
    }

    /// A list of numbers of whatever width; empty when there is none.
    pub fn numbers(&self, tag: u32, limit: usize) -> Result<Vec<u64>, Error> {
        let Some((kind, value, count)) = self.value(tag) else { return Ok(Vec::new()) };
        let width = NUMBERS.iter().find(|(number, _)| *number == kind).map(|(_, width)| *width);
        let width = width.ok_or_else(|| odd(tag))?;
        check_count(count, limit)?;
        // There are few enough.
        let values = value.get(..count * width).ok_or_else(|| odd(tag))?.chunks_exact(width);
        Ok(values.map(|value| value.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))).collect())
    }

    /// A list of texts; empty when there is none.
    pub fn texts(&self, tag: u32, limit: usize) -> Result<Vec<&[u8]>, Error> {
        let Some((kind, value, count)) = self.value(tag) else { return Ok(Vec::new()) };
        check_count(count, limit)?;
        let mut texts: Vec<_> = value.split(|byte| *byte == 0).take(count.saturating_add(1)).collect();
        // What is behind the last end is no text.
        if kind != TEXTS || texts.len() <= count {
            return Err(odd(tag));
        }
        texts.truncate(count);
        Ok(texts)
    }

    /// A value's type, the store from its first byte on, and how many there are of it.
    fn value(&self, tag: u32) -> Option<(u32, &[u8], usize)> {
        let (records, store) = self.bytes[RECORD..].split_at_checked(self.records * RECORD)?;
        let record = records.chunks_exact(RECORD).find(|record| number(record, 0) == tag)?;
        Some((number(record, 4), store.get(number(record, 8) as usize..)?, number(record, 12) as usize))
    }
}

fn odd(tag: u32) -> Error {
    Error::Package(format!("what its header has by the number {tag} is not that"))
}

fn check_count(count: usize, limit: usize) -> Result<(), Error> {
    match count > limit {
        true => Err(Error::Limit("the number of a package's files", limit.to_string())),
        false => Ok(()),
    }
}

/// The number at `at` of a record, which has sixteen bytes.
fn number(record: &[u8], at: usize) -> u32 {
    record.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

pub fn cut(cause: io::Error) -> Error {
    match cause.kind() {
        io::ErrorKind::UnexpectedEof => Error::Package("it is cut off".into()),
        _ => Error::Read(cause),
    }
}
