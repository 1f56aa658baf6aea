//! The entry table: a layer's entries in the archive's order, as merging needs them.
//!
//! A header, the records, then the positions of the layer's inode blocks. Numbers in records are LEB128.
//! A record is
//!
//! ```text
//! tag            kind in bits 0-3, HAS_XATTRS, SETTLED
//! shared         bytes of the path that are the previous record's
//! length, bytes  the rest of the path
//! hard link:     length, bytes of the target's path
//! others but whiteouts and opaque marks:
//!   mode, uid, gid, mtime's seconds (zigzag), nanoseconds
//!   xattrs, if any: their number, then length, name, length, value of each
//!   file: size   symlink: length, target   device: number
//!   but directories: SETTLED: inode block, offset in 32-byte slots; else the content's first block
//! ```

use super::tar::Xattr;
use super::{Attributes, Time};
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAGIC: [u8; 8] = *b"vmrunLay";
const VERSION: u32 = 1;

#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: U32,
    /// Number of inode blocks.
    inode_blocks: U32,
    /// Number and bytes of records.
    entries: U64,
    record_bytes: U64,
    /// Length of the data file and its XXH3-128.
    data_bytes: U64,
    data_digest: [u8; 16],
    /// XXH3-128 of what follows the header.
    body_digest: [u8; 16],
    /// XXH3-64 of the header up to here.
    checksum: U64,
}

const HEADER: usize = size_of::<Header>();

const HAS_XATTRS: u8 = 0x10;
const SETTLED: u8 = 0x20;

/// Where an inode or its content is in the layer's data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The inode is finished: inode block, and bytes into it.
    Settled { block: u32, offset: u16 },
    /// The content begins at this block.
    Plain { block: u32 },
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    Directory,
    File { size: u64, place: Place },
    Symlink { target: &'a [u8], place: Place },
    CharacterDevice { number: u32, place: Place },
    BlockDevice { number: u32, place: Place },
    Fifo { place: Place },
    HardLink { target: &'a [u8] },
    Whiteout,
    Opaque,
}

impl Body<'_> {
    fn tag(&self) -> u8 {
        match self {
            Body::Directory => 0,
            Body::File { .. } => 1,
            Body::Symlink { .. } => 2,
            Body::CharacterDevice { .. } => 3,
            Body::BlockDevice { .. } => 4,
            Body::Fifo { .. } => 5,
            Body::HardLink { .. } => 6,
            Body::Whiteout => 7,
            Body::Opaque => 8,
        }
    }

    fn place(&self) -> Option<Place> {
        match *self {
            Body::File { place, .. }
            | Body::Symlink { place, .. }
            | Body::CharacterDevice { place, .. }
            | Body::BlockDevice { place, .. }
            | Body::Fifo { place } => Some(place),
            _ => None,
        }
    }

    /// Whether entries of this kind have attributes of their own.
    pub fn has_attributes(&self) -> bool {
        !matches!(self, Body::HardLink { .. } | Body::Whiteout | Body::Opaque)
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Below the root, without leading or trailing slashes; of a whiteout, what it hides; of an opaque mark,
    /// the directory.
    pub path: &'a [u8],
    pub body: Body<'a>,
    pub attributes: Attributes,
    /// Encoded: see [`decode_xattrs`]. Empty if there are none.
    pub xattrs: &'a [u8],
}

/// Writes an entry table.
pub struct TableWriter {
    file: BufWriter<File>,
    digest: Box<Xxh3Default>,
    record: Vec<u8>,
    previous: Vec<u8>,
    entries: u64,
    record_bytes: u64,
}

impl TableWriter {
    pub fn new(file: File) -> io::Result<TableWriter> {
        let mut file = BufWriter::with_capacity(64 << 10, file);
        file.write_all(&[0; HEADER])?;
        Ok(TableWriter {
            file,
            digest: Box::new(Xxh3Default::new()),
            record: Vec::new(),
            previous: Vec::new(),
            entries: 0,
            record_bytes: 0,
        })
    }

    pub fn entries(&self) -> u64 {
        self.entries
    }

    pub fn add(
        &mut self,
        path: &[u8],
        body: &Body<'_>,
        attributes: &Attributes,
        xattrs: &[Xattr],
    ) -> io::Result<()> {
        let record = &mut self.record;
        record.clear();
        let has_attributes = body.has_attributes();
        let mut tag = body.tag();
        if has_attributes && !xattrs.is_empty() {
            tag |= HAS_XATTRS;
        }
        if let Some(Place::Settled { .. }) = body.place() {
            tag |= SETTLED;
        }
        record.push(tag);
        let shared = path.iter().zip(&self.previous).take_while(|(new, old)| new == old).count();
        number(record, shared as u64);
        bytes(record, &path[shared..]);
        self.previous.truncate(shared);
        self.previous.extend_from_slice(&path[shared..]);
        if let Body::HardLink { target } = body {
            bytes(record, target);
        }
        if has_attributes {
            number(record, attributes.mode.into());
            number(record, attributes.uid.into());
            number(record, attributes.gid.into());
            let seconds = attributes.mtime.seconds;
            number(record, ((seconds << 1) ^ (seconds >> 63)) as u64);
            number(record, attributes.mtime.nanoseconds.into());
            if !xattrs.is_empty() {
                let mut encoded = Vec::new();
                number(&mut encoded, xattrs.len() as u64);
                for Xattr { name, value } in xattrs {
                    bytes(&mut encoded, name);
                    bytes(&mut encoded, value);
                }
                bytes(record, &encoded);
            }
        }
        match *body {
            Body::File { size, .. } => number(record, size),
            Body::Symlink { target, .. } => bytes(record, target),
            Body::CharacterDevice { number: device, .. } | Body::BlockDevice { number: device, .. } => {
                number(record, device.into());
            }
            _ => {}
        }
        match body.place() {
            Some(Place::Settled { block, offset }) => {
                number(record, block.into());
                number(record, u64::from(offset) / 32);
            }
            Some(Place::Plain { block }) => number(record, block.into()),
            None => {}
        }
        self.entries += 1;
        self.record_bytes += record.len() as u64;
        self.digest.update(record);
        self.file.write_all(record)
    }

    /// Writes what comes at the end, and the header.
    pub fn finish(mut self, inode_blocks: &[u32], data_bytes: u64, data_digest: [u8; 16]) -> io::Result<()> {
        for &block in inode_blocks {
            let block = U32::new(block);
            self.digest.update(block.as_bytes());
            self.file.write_all(block.as_bytes())?;
        }
        let mut header = Header {
            magic: MAGIC,
            version: VERSION.into(),
            inode_blocks: (inode_blocks.len() as u32).into(),
            entries: self.entries.into(),
            record_bytes: self.record_bytes.into(),
            data_bytes: data_bytes.into(),
            data_digest,
            body_digest: self.digest.digest128().to_be_bytes(),
            checksum: 0.into(),
        };
        header.checksum = header.sum().into();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(header.as_bytes())?;
        self.file.flush()
    }
}

impl Header {
    fn sum(&self) -> u64 {
        xxh3_64(&self.as_bytes()[..HEADER - size_of::<U64>()])
    }
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What is wrong with a file that should be an entry table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("it is no entry table")]
    Magic,
    #[error("it is an entry table of version {0}, and this program reads version {VERSION}")]
    Version(u32),
    #[error("its checksum is wrong")]
    Checksum,
    #[error("a record of it is malformed")]
    Record,
}

/// An entry table in memory, checked as a whole.
pub struct Table {
    content: Vec<u8>,
    header: Header,
}

impl Table {
    pub fn parse(content: Vec<u8>) -> Result<Table, Damage> {
        let (header, body) = Header::read_from_prefix(&content).map_err(|_| Damage::Magic)?;
        if header.magic != MAGIC {
            return Err(Damage::Magic);
        }
        if header.version.get() != VERSION {
            return Err(Damage::Version(header.version.get()));
        }
        if header.sum() != header.checksum.get() {
            return Err(Damage::Checksum);
        }
        let positions = u64::from(header.inode_blocks.get()) * 4;
        if header.record_bytes.get().checked_add(positions) != Some(body.len() as u64) {
            return Err(Damage::Checksum);
        }
        if xxhash_rust::xxh3::xxh3_128(body).to_be_bytes() != header.body_digest {
            return Err(Damage::Checksum);
        }
        Ok(Table { content, header })
    }

    /// Length of the layer's data file.
    pub fn data_bytes(&self) -> u64 {
        self.header.data_bytes.get()
    }

    /// A function of everything in the layer: its entries and its data.
    pub fn identity(&self) -> [u8; HEADER] {
        let mut identity = [0; HEADER];
        identity.copy_from_slice(self.header.as_bytes());
        identity
    }

    pub fn entries(&self) -> u64 {
        self.header.entries.get()
    }

    pub fn records(&self) -> Records<'_> {
        let end = HEADER + self.header.record_bytes.get() as usize;
        Records { rest: &self.content[HEADER..end], path: Vec::new() }
    }

    /// The block of the data file in which an inode block is.
    pub fn inode_block(&self, block: u32) -> Result<u32, Damage> {
        let begin = HEADER + self.header.record_bytes.get() as usize + block as usize * 4;
        let position = self.content.get(begin..begin + 4).ok_or(Damage::Record)?;
        Ok(U32::read_from_bytes(position).map_err(|_| Damage::Record)?.get())
    }
}

/// Goes through a table's records.
pub struct Records<'a> {
    rest: &'a [u8],
    path: Vec<u8>,
}

impl<'a> Records<'a> {
    /// The next record; its path is valid until the next call.
    pub fn next(&mut self) -> Result<Option<Record<'_>>, Damage> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.byte()?;
        let shared = self.length(self.path.len())?;
        self.path.truncate(shared);
        let suffix = self.bytes()?;
        self.path.extend_from_slice(suffix);
        let kind = tag & 0xf;
        let mut attributes = Attributes::default();
        let mut xattrs: &[u8] = &[];
        if kind <= 5 {
            attributes.mode = self.narrow::<u16>()? & 0o7777;
            attributes.uid = self.narrow()?;
            attributes.gid = self.narrow()?;
            let seconds = self.number()?;
            let seconds = (seconds >> 1) as i64 ^ -((seconds & 1) as i64);
            attributes.mtime = Time { seconds, nanoseconds: self.narrow()? };
            if tag & HAS_XATTRS != 0 {
                xattrs = self.bytes()?;
            }
        }
        let settled = tag & SETTLED != 0;
        let body = match kind {
            0 => Body::Directory,
            1 => Body::File { size: self.number()?, place: self.place(settled)? },
            2 => Body::Symlink { target: self.bytes()?, place: self.place(settled)? },
            3 => Body::CharacterDevice { number: self.narrow()?, place: self.place(settled)? },
            4 => Body::BlockDevice { number: self.narrow()?, place: self.place(settled)? },
            5 => Body::Fifo { place: self.place(settled)? },
            6 => Body::HardLink { target: self.bytes()? },
            7 => Body::Whiteout,
            8 => Body::Opaque,
            _ => return Err(Damage::Record),
        };
        Ok(Some(Record { path: &self.path, body, attributes, xattrs }))
    }

    fn place(&mut self, settled: bool) -> Result<Place, Damage> {
        let block = self.narrow()?;
        if !settled {
            return Ok(Place::Plain { block });
        }
        match self.number()? {
            slot @ 0..128 => Ok(Place::Settled { block, offset: slot as u16 * 32 }),
            _ => Err(Damage::Record),
        }
    }

    fn byte(&mut self) -> Result<u8, Damage> {
        let (&byte, rest) = self.rest.split_first().ok_or(Damage::Record)?;
        self.rest = rest;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64, Damage> {
        take_number(&mut self.rest)
    }

    fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, Damage> {
        T::try_from(self.number()?).map_err(|_| Damage::Record)
    }

    fn length(&mut self, limit: usize) -> Result<usize, Damage> {
        usize::try_from(self.number()?).ok().filter(|&length| length <= limit).ok_or(Damage::Record)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Damage> {
        take_bytes(&mut self.rest)
    }
}

fn take_number(rest: &mut &[u8]) -> Result<u64, Damage> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or(Damage::Record)?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(Damage::Record);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Damage::Record)
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Damage> {
    let length = usize::try_from(take_number(rest)?).map_err(|_| Damage::Record)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(Damage::Record)?;
    *rest = after;
    Ok(bytes)
}

/// The names and values of a record's xattrs, sorted by name.
pub fn decode_xattrs(mut encoded: &[u8]) -> Result<Vec<(&[u8], &[u8])>, Damage> {
    let mut xattrs = Vec::new();
    if !encoded.is_empty() {
        for _ in 0..take_number(&mut encoded)? {
            xattrs.push((take_bytes(&mut encoded)?, take_bytes(&mut encoded)?));
        }
    }
    Ok(xattrs)
}
