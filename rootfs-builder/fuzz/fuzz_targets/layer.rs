//! The layer reader and all that comes after it: whatever an archive holds, there is either a refusal in one
//! line or an image that is sound.
//!
//! Some inputs are archives as they are; most are built, with checksums that fit and names that meet.

#![no_main]

#[path = "layer/erofs.rs"]
mod erofs;
#[path = "layer/ext4.rs"]
mod ext4;

use std::cell::RefCell;
use std::fs::File;
use std::path::{Path, PathBuf};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rootfs_builder::erofs::{LayerFiles, write_metadata};
use rootfs_builder::ext4::{LargeFiles, write};
use rootfs_builder::layer::{Limits, build};

#[derive(Arbitrary, Debug)]
enum Input {
    Raw(Vec<u8>),
    Built(Vec<Layer>),
}

#[derive(Arbitrary, Debug)]
struct Layer {
    entries: Vec<Entry>,
    cut: Option<u16>,
    flipped: Option<u16>,
}

#[derive(Arbitrary, Debug)]
struct Entry {
    path: Name,
    link: Name,
    kind: u8,
    /// Raw fields, where numbers would be too well-behaved.
    owner: Option<[u8; 8]>,
    mtime: Option<[u8; 12]>,
    device: [u8; 2],
    size: Option<[u8; 12]>,
    content: Content,
    magic: u8,
    records: Vec<(Key, Vec<u8>)>,
    prefix: Option<Vec<u8>>,
}

#[derive(Arbitrary, Debug)]
enum Content {
    Bytes(Vec<u8>),
    Large(u16, u8),
}

#[derive(Arbitrary, Debug)]
enum Name {
    Known(Vec<u8>),
    Raw(Vec<u8>),
    Long(u16),
}

#[derive(Arbitrary, Debug)]
enum Key {
    Known(u8),
    Xattr(u8),
    Raw(Vec<u8>),
}

const NAMES: [&[u8]; 12] =
    [b"a", b"b", b"dir", b"..", b".", b".wh.a", b".wh.b", b".wh..wh..opq", b".wh.dir", b"", b"\xff", b"c"];
const KINDS: &[u8] = b"0123456750xgLKSV\0Q001225";
const KEYS: [&str; 18] = [
    "path",
    "linkpath",
    "size",
    "uid",
    "gid",
    "mtime",
    "GNU.sparse.major",
    "GNU.sparse.minor",
    "GNU.sparse.name",
    "GNU.sparse.realsize",
    "GNU.sparse.size",
    "GNU.sparse.numblocks",
    "GNU.sparse.offset",
    "GNU.sparse.numbytes",
    "GNU.sparse.map",
    "LIBARCHIVE.xattr.user.a",
    "comment",
    "hdrcharset",
];
const XATTRS: [&str; 8] = [
    "user.a",
    "user.b",
    "security.capability",
    "trusted.overlay.opaque",
    "system.posix_acl_access",
    "trusted.x",
    "system.other",
    "user.",
];

impl Name {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Name::Known(picks) => {
                let names: Vec<&[u8]> =
                    picks.iter().take(6).map(|&pick| NAMES[usize::from(pick) % NAMES.len()]).collect();
                names.join(&b'/')
            }
            Name::Raw(bytes) => bytes.clone(),
            Name::Long(length) => vec![b'l'; usize::from(*length) % 5000],
        }
    }
}

impl Content {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Content::Bytes(bytes) => bytes.clone(),
            Content::Large(length, fill) => vec![*fill; usize::from(*length)],
        }
    }
}

impl Entry {
    fn append(&self, out: &mut Vec<u8>) {
        if !self.records.is_empty() {
            let mut records = Vec::new();
            for (key, value) in &self.records {
                let key = match key {
                    Key::Known(pick) => KEYS[usize::from(*pick) % KEYS.len()].into(),
                    Key::Xattr(pick) => {
                        format!("SCHILY.xattr.{}", XATTRS[usize::from(*pick) % XATTRS.len()]).into_bytes()
                    }
                    Key::Raw(key) => key.clone(),
                };
                let bytes = key.len() + value.len() + 3;
                let digits = (bytes + bytes.to_string().len()).to_string().len();
                records.extend_from_slice(format!("{} ", bytes + digits).as_bytes());
                records.extend_from_slice(&key);
                records.push(b'=');
                records.extend_from_slice(value);
                records.push(b'\n');
            }
            self.header(b'x', &[b'p'], &octal(records.len()), out);
            append(&records, out);
        }
        let content = self.content.bytes();
        let kind = KINDS[usize::from(self.kind) % KINDS.len()];
        let size = self.size.unwrap_or_else(|| octal(content.len()));
        self.header(kind, &self.path.bytes(), &size, out);
        append(&content, out);
    }

    fn header(&self, kind: u8, path: &[u8], size: &[u8; 12], out: &mut Vec<u8>) {
        let mut block = [0u8; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &path[..path.len().min(100)]);
        put(100, b"0004755\0");
        put(108, &self.owner.unwrap_or_default());
        put(124, size);
        put(136, &self.mtime.unwrap_or_default());
        put(156, &[kind]);
        let link = self.link.bytes();
        put(157, &link[..link.len().min(100)]);
        put(257, [&b"ustar\x0000"[..], b"ustar  \0", b"", b"ustar\0\0\0"][usize::from(self.magic) % 4]);
        put(329, format!("{:07o}", self.device[0]).as_bytes());
        put(337, format!("{:07o}", self.device[1]).as_bytes());
        if let Some(prefix) = &self.prefix {
            put(345, &prefix[..prefix.len().min(155)]);
        }
        put(148, b"        ");
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.extend_from_slice(&block);
    }
}

fn octal(value: usize) -> [u8; 12] {
    let mut field = [0; 12];
    field[..11].copy_from_slice(format!("{value:011o}").as_bytes());
    field
}

fn append(content: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), 0);
}

impl Layer {
    fn tar(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        for entry in &self.entries {
            entry.append(&mut tar);
        }
        if let Some(at) = self.flipped {
            if let Some(byte) = tar.get_mut(usize::from(at)) {
                *byte ^= 1;
            }
        }
        match self.cut {
            Some(length) => tar.truncate(usize::from(length)),
            None => tar.resize(tar.len() + 1024, 0),
        }
        tar
    }
}

fn create(path: &Path) -> File {
    File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap()
}

/// One line, and a short one.
fn refused(message: String) {
    assert!(!message.contains('\n') && message.len() < 1000, "{message}");
}

fn image(directory: &Path, tars: &[Vec<u8>]) {
    let limits = Limits { entries: 5000, data_bytes: 8 << 20, hole_bytes: 4 << 20, ..Limits::default() };
    let mut parts: Vec<(PathBuf, PathBuf, u64)> = Vec::new();
    for (number, tar) in tars.iter().enumerate() {
        let (data, entries) =
            (directory.join(format!("{number}.data")), directory.join(format!("{number}.entries")));
        match build(&tar[..], create(&data), create(&entries), &limits) {
            Ok(summary) => parts.push((data, entries, summary.data_bytes)),
            Err(error) => return refused(error.to_string()),
        }
    }
    let layers: Vec<LayerFiles> = parts
        .iter()
        .map(|(data, entries, data_length)| LayerFiles { data, entries, data_length: *data_length })
        .collect();
    let path = directory.join("image");
    match write_metadata(&layers, create(&path)) {
        Err(error) => refused(error.to_string()),
        Ok(summary) => {
            let mut disk = std::fs::read(path).unwrap();
            for (data, _, _) in &parts {
                disk.extend_from_slice(&std::fs::read(data).unwrap());
            }
            assert_eq!(erofs::check(&disk), summary.inodes);
        }
    }
    for large in [LargeFiles::InLayers, LargeFiles::Copied] {
        let path = directory.join("ext4");
        match write(&layers, large, &create(&path)) {
            Err(error) => refused(error.to_string()),
            Ok(summary) => {
                let mut disk = std::fs::read(path).unwrap();
                if large == LargeFiles::InLayers {
                    for (data, _, _) in &parts {
                        disk.extend_from_slice(&std::fs::read(data).unwrap());
                    }
                }
                assert_eq!(ext4::check(&disk), summary.inodes);
            }
        }
    }
}

thread_local! {
    static DIRECTORY: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

fuzz_target!(|input: Input| {
    DIRECTORY.with_borrow_mut(|directory| {
        let directory = directory.get_or_insert_with(|| {
            let directory = PathBuf::from(format!("/dev/shm/layer-fuzz.{}", std::process::id()));
            std::fs::create_dir_all(&directory).unwrap();
            directory
        });
        match input {
            Input::Raw(tar) => image(directory, &[tar]),
            Input::Built(layers) => {
                let tars: Vec<Vec<u8>> = layers.iter().take(4).map(Layer::tar).collect();
                image(directory, &tars);
            }
        }
    });
});
