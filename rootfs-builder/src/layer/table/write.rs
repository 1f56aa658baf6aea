//! Writing entry tables.

use super::{Body, HAS_XATTRS, HEADER, Header, MAGIC, Place, SETTLED, VERSION};
use crate::layer::Attributes;
use crate::layer::tar::Xattr;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use xxhash_rust::xxh3::Xxh3Default;
use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::U32;

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

    /// Bytes of records written so far.
    pub fn bytes(&self) -> u64 {
        self.record_bytes
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
