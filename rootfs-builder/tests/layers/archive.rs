//! A tar writer that writes whatever it is told.

use std::fmt::{self, Write};

#[derive(Clone)]
pub struct Entry {
    pub path: Vec<u8>,
    pub kind: u8,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
    pub device: (u32, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Further PAX records.
    pub pax: Vec<(Vec<u8>, Vec<u8>)>,
    pub content: Vec<u8>,
    /// The size field, if it is to lie.
    pub size: Option<i64>,
}

/// One line: proptest shows whole stacks.
impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", char::from(self.kind), self.path.escape_ascii())?;
        if !self.link.is_empty() {
            write!(formatter, " -> {}", self.link.escape_ascii())?;
        }
        write!(formatter, " {:o} {}:{} {:?}", self.mode, self.uid, self.gid, self.mtime)?;
        for (name, value) in &self.xattrs {
            write!(formatter, " {}[{}]", name.escape_ascii(), value.len())?;
        }
        write!(formatter, " +{}", self.content.len())
    }
}

impl Entry {
    pub fn new(kind: u8, path: impl AsRef<[u8]>) -> Entry {
        Entry {
            path: path.as_ref().to_vec(),
            kind,
            link: Vec::new(),
            mode: if kind == b'5' { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            mtime: (1_000_000_000, 0),
            device: (0, 0),
            xattrs: Vec::new(),
            pax: Vec::new(),
            content: Vec::new(),
            size: None,
        }
    }

    pub fn file(path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Entry {
        Entry { content: content.as_ref().to_vec(), ..Entry::new(b'0', path) }
    }

    pub fn directory(path: impl AsRef<[u8]>) -> Entry {
        Entry::new(b'5', path)
    }

    pub fn symlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
        Entry { link: target.as_ref().to_vec(), ..Entry::new(b'2', path) }
    }

    pub fn hard_link(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
        Entry { link: target.as_ref().to_vec(), ..Entry::new(b'1', path) }
    }

    pub fn whiteout(directory: &str, name: &str) -> Entry {
        Entry::file(format!("{directory}.wh.{name}"), "")
    }
}

pub fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        append(entry, &mut out);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn append(entry: &Entry, out: &mut Vec<u8>) {
    let mut pax = Vec::new();
    let fits = |value: u64| value < 1 << 21;
    if entry.path.len() > 99 {
        record(b"path", &entry.path, &mut pax);
    }
    if entry.link.len() > 99 {
        record(b"linkpath", &entry.link, &mut pax);
    }
    if !fits(entry.uid) {
        record(b"uid", entry.uid.to_string().as_bytes(), &mut pax);
    }
    if !fits(entry.gid) {
        record(b"gid", entry.gid.to_string().as_bytes(), &mut pax);
    }
    let (seconds, nanoseconds) = entry.mtime;
    if !(0..1 << 33).contains(&seconds) || nanoseconds > 0 {
        record(b"mtime", pax_time(seconds, nanoseconds).as_bytes(), &mut pax);
    }
    for (name, value) in &entry.xattrs {
        record(&[b"SCHILY.xattr.", &name[..]].concat(), value, &mut pax);
    }
    for (key, value) in &entry.pax {
        record(key, value, &mut pax);
    }
    if !pax.is_empty() {
        header(&Entry::file("pax", &pax), b'x', out);
        out.extend_from_slice(&pax);
        pad(out);
    }
    header(entry, entry.kind, out);
    out.extend_from_slice(&entry.content);
    pad(out);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(512), 0);
}

pub fn pax_time(seconds: i64, nanoseconds: u32) -> String {
    if seconds >= 0 {
        return format!("{seconds}.{nanoseconds:09}");
    }
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    format!("-{}.{:09}", -total / 1_000_000_000, -total % 1_000_000_000)
}

fn record(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let bytes = key.len() + value.len() + 3;
    let mut length = bytes + 1;
    while bytes + length.to_string().len() != length {
        length = bytes + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} ").as_bytes());
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

pub fn header(entry: &Entry, kind: u8, out: &mut Vec<u8>) {
    let mut block = [0u8; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    let octal = |value: u64, width: usize| {
        let mut text = String::new();
        write!(text, "{value:0width$o}").unwrap();
        text.into_bytes()
    };
    let small = |value: u64| if value < 1 << 21 { value } else { 0 };
    put(0, &entry.path[..entry.path.len().min(99)]);
    put(100, &octal(entry.mode.into(), 7));
    put(108, &octal(small(entry.uid), 7));
    put(116, &octal(small(entry.gid), 7));
    match entry.size {
        Some(size) if size < 0 => {
            put(124, &[0xff; 4]);
            put(128, &size.to_be_bytes());
        }
        Some(size) => put(124, &octal(size as u64, 11)),
        None => put(124, &octal(entry.content.len() as u64, 11)),
    }
    put(136, &octal(entry.mtime.0.clamp(0, (1 << 33) - 1) as u64, 11));
    put(156, &[kind]);
    put(157, &entry.link[..entry.link.len().min(99)]);
    put(257, b"ustar\x0000");
    put(329, &octal(entry.device.0.into(), 7));
    put(337, &octal(entry.device.1.into(), 7));
    put(148, b"        ");
    let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    out.extend_from_slice(&block);
}
