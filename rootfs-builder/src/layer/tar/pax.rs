//! PAX extended headers (POSIX.1-2001, "pax Interchange Format").

use super::number::{decimal, pax_time};
use super::sparse::SparseRecords;
use super::{Problem, Xattr};
use crate::layer::Time;
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// What the records before an entry say about it.
#[derive(Default)]
pub struct PaxRecords {
    pub path: Option<Vec<u8>>,
    pub link_path: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Time>,
    /// In the header's order; names may come more than once.
    xattrs: Vec<(Source, Xattr)>,
    pub sparse: SparseRecords,
}

/// The records that xattrs come in. bsdtar writes both; the plain ones cannot be misunderstood and win.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Libarchive,
    Plain,
}

/// libarchive leaves the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl PaxRecords {
    /// Takes up every record of a header's content, "LENGTH KEY=VALUE\n" each. Values are binary.
    pub fn apply(&mut self, mut records: &[u8]) -> Result<(), Problem> {
        while !records.is_empty() {
            let space = records.iter().take(20).position(|&byte| byte == b' ').ok_or(Problem::PaxRecord)?;
            let length = decimal(&records[..space])
                .and_then(|length| usize::try_from(length).ok())
                .filter(|&length| length > space + 1 && length <= records.len())
                .ok_or(Problem::PaxRecord)?;
            let record = records[space + 1..length].strip_suffix(b"\n").ok_or(Problem::PaxRecord)?;
            let equals = record.iter().position(|&byte| byte == b'=').ok_or(Problem::PaxRecord)?;
            self.record(&record[..equals], &record[equals + 1..])?;
            records = &records[length..];
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link_path = text(value)?,
            b"size" => self.size = given(value, size)?,
            b"uid" => self.uid = given(value, |value| owner("uid", value))?,
            b"gid" => self.gid = given(value, |value| owner("gid", value))?,
            b"mtime" => {
                self.mtime = given(value, |value| pax_time(value).ok_or(Problem::Number { field: "mtime" }))?;
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    let (name, value) = (name.to_vec(), value.to_vec());
                    self.xattrs.push((Source::Plain, Xattr { name, value }));
                } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    let name = percent_decode(name);
                    let value = BASE64.decode(value).map_err(|_| Problem::PaxRecord)?;
                    self.xattrs.push((Source::Libarchive, Xattr { name, value }));
                } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.record(key, value)?;
                }
            }
        }
        Ok(())
    }

    /// The extended attributes, sorted by name, each with the value that was given last.
    pub fn take_xattrs(&mut self) -> Vec<Xattr> {
        let mut given = std::mem::take(&mut self.xattrs);
        // Stable: of equals, the later comes later.
        given.sort_by(|(source, xattr), (other_source, other)| {
            (&xattr.name, source).cmp(&(&other.name, other_source))
        });
        let mut xattrs: Vec<Xattr> = Vec::with_capacity(given.len());
        for (_, xattr) in given {
            match xattrs.last_mut() {
                Some(last) if last.name == xattr.name => *last = xattr,
                _ => xattrs.push(xattr),
            }
        }
        xattrs
    }
}

/// An empty value takes back what an earlier record said.
fn given<T>(value: &[u8], parse: impl Fn(&[u8]) -> Result<T, Problem>) -> Result<Option<T>, Problem> {
    if value.is_empty() { Ok(None) } else { parse(value).map(Some) }
}

fn text(value: &[u8]) -> Result<Option<Vec<u8>>, Problem> {
    if value.contains(&0) {
        return Err(Problem::NulInName);
    }
    given(value, |value| Ok(value.to_vec()))
}

fn size(value: &[u8]) -> Result<u64, Problem> {
    if value.starts_with(b"-") {
        return Err(Problem::NegativeSize);
    }
    decimal(value).ok_or(Problem::Number { field: "size" })
}

fn owner(field: &'static str, value: &[u8]) -> Result<u32, Problem> {
    decimal(value).and_then(|value| u32::try_from(value).ok()).ok_or(Problem::Number { field })
}

fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'%')
            .then(|| after.first_chunk::<2>())
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(records: &[u8]) -> Result<PaxRecords, Problem> {
        let mut pax = PaxRecords::default();
        pax.apply(records)?;
        Ok(pax)
    }

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let mut length = key.len() + value.len() + 4;
        if length > 9 {
            length += 1;
        }
        [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
    }

    fn xattr(name: &[u8], value: &[u8]) -> Xattr {
        Xattr { name: name.to_vec(), value: value.to_vec() }
    }

    #[test]
    fn values_may_hold_newlines_and_nul() {
        let records = [record("SCHILY.xattr.user.a", b"x\ny\0=z\n"), record("mtime", b"-1.5")].concat();
        let mut pax = parse(&records).unwrap();
        assert_eq!(pax.take_xattrs(), [xattr(b"user.a", b"x\ny\0=z\n")]);
        assert_eq!(pax.mtime, Some(Time { seconds: -2, nanoseconds: 500_000_000 }));
    }

    #[test]
    fn libarchive_xattrs_are_decoded_and_give_way() {
        let mut pax = parse(&record("LIBARCHIVE.xattr.user.a%3Db", b"AAEC/w")).unwrap();
        assert_eq!(pax.take_xattrs(), [xattr(b"user.a=b", &[0, 1, 2, 255])]);
        let both = [record("SCHILY.xattr.user.k", b"v"), record("LIBARCHIVE.xattr.user.k", b"AAAA")];
        assert_eq!(parse(&both.concat()).unwrap().take_xattrs(), [xattr(b"user.k", b"v")]);
        let twice = [record("SCHILY.xattr.user.k", b"1"), record("SCHILY.xattr.user.k", b"2")];
        assert_eq!(parse(&twice.concat()).unwrap().take_xattrs(), [xattr(b"user.k", b"2")]);
        assert!(parse(&record("LIBARCHIVE.xattr.user.k", b"not base 64")).is_err());
    }

    #[test]
    fn records_that_lie_are_refused() {
        for records in [&b"99 path=a\n"[..], b"10 path=ab", b"0 path=a\n", b"3 a", b" path=a\n", b"7 path\n"]
        {
            assert!(parse(records).is_err(), "{}", records.escape_ascii());
        }
        assert!(matches!(parse(&record("path", b"a\0b")), Err(Problem::NulInName)));
        assert!(matches!(parse(&record("size", b"-1")), Err(Problem::NegativeSize)));
    }

    #[test]
    fn an_empty_value_takes_back() {
        assert_eq!(parse(&record("path", b"a")).unwrap().path.as_deref(), Some(&b"a"[..]));
        assert_eq!(parse(&[record("path", b"a"), record("path", b"")].concat()).unwrap().path, None);
    }
}
