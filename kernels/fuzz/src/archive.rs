//! Archives whose headers are made by hand: right, unless the fuzzer has other wishes.

use arbitrary::Arbitrary;

/// What an entry is, of tar and of cpio.
const TAR_KINDS: &[u8] = b"0005123760xgLKSV\0";
const CPIO_MODES: [u32; 8] = [0o100_644, 0o100_644, 0o100_755, 0o120_777, 0o040_755, 0o020_644, 0o140_000, 0];

/// What is unusual about an entry.
#[derive(Arbitrary, Debug, Default)]
pub struct Oddity {
    kind: u8,
    size: Option<[u8; 12]>,
    links: u8,
    link: Vec<u8>,
    prefix: Option<Vec<u8>>,
    /// Records of a POSIX header before it.
    records: Vec<(Key, Vec<u8>)>,
    gnu: bool,
    wrong_sum: bool,
}

#[derive(Arbitrary, Debug)]
enum Key {
    Path,
    LinkPath,
    Size,
    Other(u8),
    Raw(Vec<u8>),
}

pub struct TarFile<'a> {
    pub name: Vec<u8>,
    pub content: Vec<u8>,
    pub oddity: Option<&'a Oddity>,
}

impl<'a> TarFile<'a> {
    pub fn plain(name: impl Into<Vec<u8>>, content: impl Into<Vec<u8>>) -> TarFile<'a> {
        TarFile { name: name.into(), content: content.into(), oddity: None }
    }

    pub fn append_to_tar(&self, tar: &mut Vec<u8>) {
        let none = Oddity::default();
        let oddity = self.oddity.unwrap_or(&none);
        if !oddity.records.is_empty() {
            let records: Vec<u8> =
                oddity.records.iter().flat_map(|(key, value)| record(key, value)).collect();
            append(tar, &Oddity::default(), b'x', b"records", &records);
        }
        if self.name.len() > 100 {
            append(tar, &Oddity::default(), b'L', b"././@LongLink", &[&self.name[..], b"\0"].concat());
        }
        append(tar, oddity, TAR_KINDS[usize::from(oddity.kind) % TAR_KINDS.len()], &self.name, &self.content);
    }

    pub fn append_to_cpio(&self, cpio: &mut Vec<u8>) {
        let none = Oddity::default();
        let oddity = self.oddity.unwrap_or(&none);
        let size = match oddity.size {
            Some([a, b, c, d, ..]) => u32::from_le_bytes([a, b, c, d]),
            None => self.content.len() as u32,
        };
        let name = self.name.len() as u32 + u32::from(!oddity.wrong_sum);
        let links = 1 + u32::from(oddity.links % 3);
        let mode = CPIO_MODES[usize::from(oddity.kind) % CPIO_MODES.len()];
        cpio.extend(if oddity.gnu { b"070702" } else { b"070701" });
        for field in [1, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name, 0] {
            cpio.extend(format!("{field:08X}").bytes());
        }
        cpio.extend(&self.name);
        cpio.push(0);
        cpio.resize(cpio.len().next_multiple_of(4), 0);
        cpio.extend(&self.content);
        cpio.resize(cpio.len().next_multiple_of(4), 0);
    }
}

pub fn tar(files: &[TarFile<'_>]) -> Vec<u8> {
    let mut tar = Vec::new();
    files.iter().for_each(|file| file.append_to_tar(&mut tar));
    tar.resize(tar.len() + 1024, 0);
    tar
}

pub fn cpio(files: &[TarFile<'_>]) -> Vec<u8> {
    let mut cpio = Vec::new();
    files.iter().for_each(|file| file.append_to_cpio(&mut cpio));
    TarFile::plain("TRAILER!!!", "").append_to_cpio(&mut cpio);
    cpio
}

fn record(key: &Key, value: &[u8]) -> Vec<u8> {
    const OTHERS: [&str; 5] = ["mtime", "comment", "GNU.sparse.major", "GNU.sparse.name", "hdrcharset"];
    let key = match key {
        Key::Path => b"path",
        Key::LinkPath => &b"linkpath"[..],
        Key::Size => b"size",
        Key::Other(other) => OTHERS[usize::from(*other) % OTHERS.len()].as_bytes(),
        Key::Raw(key) => key,
    };
    let bytes = key.len() + value.len() + 3;
    let digits = (bytes + bytes.to_string().len()).to_string().len();
    [format!("{} ", bytes + digits).as_bytes(), key, b"=", value, b"\n"].concat()
}

fn append(tar: &mut Vec<u8>, oddity: &Oddity, kind: u8, name: &[u8], content: &[u8]) {
    let mut block = [0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name[..name.len().min(100)]);
    put(100, b"0000644\0");
    let size = oddity.size.unwrap_or_else(|| {
        let mut size = [0; 12];
        size[..11].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        size
    });
    put(124, &size);
    put(156, &[kind]);
    put(157, &oddity.link[..oddity.link.len().min(100)]);
    put(257, if oddity.gnu { b"ustar  \0" } else { b"ustar\x0000" });
    if let Some(prefix) = &oddity.prefix {
        put(345, &prefix[..prefix.len().min(155)]);
    }
    put(148, b"        ");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum::<u64>() + u64::from(oddity.wrong_sum);
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    tar.extend_from_slice(&block);
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}
