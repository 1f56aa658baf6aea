//! Reading entry tables. They are our own, but a disk may have failed since: nothing is believed unchecked.

use super::{Body, HAS_XATTRS, HEADER, Header, MAGIC, Place, Record, SETTLED, Time, VERSION};
use crate::layer::Attributes;
use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

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
    pub(super) content: Vec<u8>,
    pub(super) header: Header,
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

    /// XXH3-128 of the layer's data file, in canonical (big-endian) order.
    pub fn data_digest(&self) -> [u8; 16] {
        self.header.data_digest
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
    pub fn advance(&mut self) -> Result<Option<Record<'_>>, Damage> {
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

/// Names and values.
pub type XattrList<'a> = Vec<(&'a [u8], &'a [u8])>;

/// A record's xattrs, sorted by name.
pub fn decode_xattrs(mut encoded: &[u8]) -> Result<XattrList<'_>, Damage> {
    let mut xattrs = Vec::new();
    if !encoded.is_empty() {
        for _ in 0..take_number(&mut encoded)? {
            xattrs.push((take_bytes(&mut encoded)?, take_bytes(&mut encoded)?));
        }
    }
    Ok(xattrs)
}
