//! One entry's headers in a tar archive: ustar, and PAX records for what does not fit in there.

use guest_protocol::files::{Entry, Kind, Time};
use tar::{EntryType, Header};

/// Tar archives are written in blocks of so many bytes.
pub const BLOCK: usize = 512;

/// What fits in the octal digits of an owner's field.
const MAX_OWNER: u32 = 0o7_777_777;

/// What fits in the octal digits of the size's field.
const MAX_SIZE: u64 = 0o77_777_777_777;

/// What fits in the octal digits of the time's field.
const MAX_TIME: i64 = 0o77_777_777_777;

/// Appends the entry's headers, PAX header included where one is needed.
pub fn append(entry: &Entry, to: &mut Vec<u8>) {
    let mut name = if entry.path.is_empty() { b".".to_vec() } else { entry.path.clone() };
    if entry.kind == Kind::Directory {
        name.push(b'/');
    }
    let mut header = Header::new_ustar();
    let mut records = Vec::new();
    if !fill(&mut header.as_old_mut().name, &name) {
        record(&mut records, b"path", &name);
    }
    header.set_entry_type(match &entry.kind {
        Kind::Directory => EntryType::Directory,
        Kind::File(_) => EntryType::Regular,
        Kind::Symlink(_) => EntryType::Symlink,
        Kind::HardLink(_) => EntryType::Link,
        Kind::CharacterDevice(..) => EntryType::Char,
        Kind::BlockDevice(..) => EntryType::Block,
        Kind::Fifo => EntryType::Fifo,
    });
    match &entry.kind {
        Kind::Symlink(target) | Kind::HardLink(target)
            if !fill(&mut header.as_old_mut().linkname, target) =>
        {
            record(&mut records, b"linkpath", target);
        }
        Kind::CharacterDevice(major, minor) | Kind::BlockDevice(major, minor) => {
            // A ustar header has both fields.
            let _ = header.set_device_major(*major);
            let _ = header.set_device_minor(*minor);
        }
        _ => {}
    }
    header.set_mode(entry.mode.into());
    for (owner, key) in [(entry.uid, &b"uid"[..]), (entry.gid, b"gid")] {
        if owner > MAX_OWNER {
            record(&mut records, key, owner.to_string().as_bytes());
        }
    }
    header.set_uid(entry.uid.min(MAX_OWNER).into());
    header.set_gid(entry.gid.min(MAX_OWNER).into());
    if entry.size() > MAX_SIZE {
        record(&mut records, b"size", entry.size().to_string().as_bytes());
    }
    header.set_size(entry.size());
    let Time { seconds, nanoseconds } = entry.modified;
    if nanoseconds != 0 || !(0..=MAX_TIME).contains(&seconds) {
        record(&mut records, b"mtime", decimal(entry.modified).as_bytes());
    }
    header.set_mtime(seconds.clamp(0, MAX_TIME) as u64);
    for xattr in &entry.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", &*xattr.name].concat(), &xattr.value);
    }
    header.set_cksum();
    if !records.is_empty() {
        append_pax(&records, &name, to);
    }
    to.extend_from_slice(header.as_bytes());
}

/// Appends as many zeroes as make whole blocks of `length` bytes.
pub fn pad(length: u64, to: &mut Vec<u8>) {
    let over = (length % BLOCK as u64) as usize;
    if over > 0 {
        to.resize(to.len() + BLOCK - over, 0);
    }
}

fn append_pax(records: &[u8], name: &[u8], to: &mut Vec<u8>) {
    let mut header = Header::new_ustar();
    // Where a reader that does not know these headers would put them.
    let last =
        name.strip_suffix(b"/").unwrap_or(name).rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let shown = [b"PaxHeaders/", &last[..last.len().min(80)]].concat();
    fill(&mut header.as_old_mut().name, &shown);
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(records.len() as u64);
    header.set_cksum();
    to.extend_from_slice(header.as_bytes());
    to.extend_from_slice(records);
    pad(records.len() as u64, to);
}

/// Fills a field; when the value does not fit, with its beginning, and `false`.
fn fill(field: &mut [u8], value: &[u8]) -> bool {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
    value.len() <= field.len()
}

/// `LENGTH KEY=VALUE\n`, the length in bytes being that of all of it.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// A time as a decimal fraction.
fn decimal(Time { seconds, nanoseconds }: Time) -> String {
    let (sign, seconds, nanoseconds) = match seconds {
        0.. => ("", seconds.unsigned_abs(), nanoseconds),
        _ if nanoseconds == 0 => ("-", seconds.unsigned_abs(), 0),
        // Nanoseconds count forward, and the digits of a negative number backward.
        _ => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanoseconds),
    };
    match nanoseconds {
        0 => format!("{sign}{seconds}"),
        _ => format!("{sign}{seconds}.{nanoseconds:09}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_fractions() {
        let time = |seconds, nanoseconds| decimal(Time { seconds, nanoseconds });
        assert_eq!(time(5, 0), "5");
        assert_eq!(time(5, 1), "5.000000001");
        assert_eq!(time(-5, 0), "-5");
        assert_eq!(time(-5, 250_000_000), "-4.750000000");
        assert_eq!(time(-1, 999_999_999), "-0.000000001");
    }

    #[test]
    fn a_record_counts_its_own_length() {
        let mut records = Vec::new();
        record(&mut records, b"a", b"b");
        record(&mut records, b"path", &[b'x'; 92]);
        let text = String::from_utf8(records).unwrap();
        assert!(text.starts_with("6 a=b\n102 path=xxx"), "{text}");
    }
}
