//! What a block device reads and writes: files laid end to end.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::AsFd;

use super::erase;
use crate::virtio::chain::Buffers;
use crate::virtio::pmem::mapping::PrivateCopy;
use crate::virtio::transfer;

/// Bytes of a sector, the unit of a block device's addresses and of its capacity.
pub const SECTOR: u64 = 512;
/// Every part of a disk is a multiple of this many bytes: a page, and the block of the file systems on it.
pub const PART_ALIGNMENT: u64 = 4096;

/// Why a disk could not be made of its files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a disk needs at least one part")]
    Empty,
    #[error("disk part {part} is {length} bytes long, not a multiple of 4096")]
    PartLength { part: usize, length: u64 },
    #[error("the disk's parts sum up to more than a disk can have")]
    TooLong,
    #[error("a writable disk has one part, not {0}")]
    WritableParts(usize),
    #[error("another machine's monitor has it; stop that machine first")]
    Held,
    #[error("cannot lock it against other monitors")]
    Lock(#[source] io::Error),
    #[error("cannot read the size of disk part {part}")]
    Size { part: usize, source: io::Error },
}

/// A file of which the disk shows `length` bytes, zeroes where the file has ended.
#[derive(Debug)]
pub struct Part {
    pub file: File,
    pub length: u64,
}

/// Parts one after another. A request's range is checked by the device before it comes here.
#[derive(Debug)]
pub struct Disk {
    content: Content,
    length: u64,
    writable: bool,
    flushes: bool,
}

#[derive(Debug)]
enum Content {
    Files(Vec<PlacedPart>),
    Memory(PrivateCopy),
}

#[derive(Debug)]
struct PlacedPart {
    file: File,
    start: u64,
    end: u64,
    /// Bytes that the file had when it was opened, as far as they are shown. One that is only read keeps them.
    data: u64,
}

impl Disk {
    /// A disk that is only ever read.
    pub fn read_only(parts: Vec<Part>) -> Result<Self, Error> {
        Self::new(parts, false)
    }

    /// A disk on one file, which grows to `length` as it is written. The file is locked for as long as the disk lives:
    /// a file system that two guests write to is lost.
    pub fn writable(part: Part) -> Result<Self, Error> {
        part.file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::Held,
            TryLockError::Error(error) => Error::Lock(error),
        })?;
        Self::new(vec![part], true)
    }

    /// The same disk, but what was flushed may be lost when the host crashes.
    pub fn ignoring_flushes(self) -> Self {
        Self { flushes: false, ..self }
    }

    /// A disk that is only ever read, from memory.
    pub fn in_memory(copy: PrivateCopy) -> Self {
        Self { length: copy.length(), content: Content::Memory(copy), writable: false, flushes: false }
    }

    fn new(parts: Vec<Part>, writable: bool) -> Result<Self, Error> {
        let length = check_parts(&parts)?;
        let mut start = 0;
        let place = |(index, part): (usize, Part)| {
            let metadata = part.file.metadata().map_err(|source| Error::Size { part: index, source })?;
            let data = metadata.len().min(part.length);
            let placed = PlacedPart { file: part.file, start, end: start + part.length, data };
            start = placed.end;
            Ok(placed)
        };
        let parts = parts.into_iter().enumerate().map(place).collect::<Result<_, Error>>()?;
        Ok(Self { content: Content::Files(parts), length, writable, flushes: true })
    }

    /// Bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Fills `buffers` from `offset` on; zeroes past the end of a part's file. A file that has become shorter is an
    /// error.
    pub fn read(&self, buffers: &Buffers, offset: u64) -> io::Result<()> {
        let parts = match &self.content {
            Content::Files(parts) => parts,
            Content::Memory(copy) => return read_memory(copy, buffers, offset),
        };
        let mut rest = buffers.clone();
        let mut offset = offset;
        let first = parts.partition_point(|part| part.end <= offset);
        for part in &parts[first..] {
            if rest.is_empty() {
                break;
            }
            let wanted = (part.end - offset).min(rest.len() as u64);
            let (here, after) = split(&rest, wanted)?;
            let read = transfer::read_at(part.file.as_fd(), &here, offset - part.start)?;
            let expected = part.data.saturating_sub(offset - part.start).min(wanted);
            if (read as u64) < expected && !self.writable {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "its file has become shorter"));
            }
            split(&here, read as u64)?.1.fill_with_zeroes();
            offset += wanted;
            rest = after;
        }
        if rest.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Writes `buffers` from `offset` on.
    pub fn write(&self, buffers: &Buffers, offset: u64) -> io::Result<()> {
        transfer::write_at(self.written()?.as_fd(), buffers, offset)
    }

    /// Makes what was written so far outlast a crash of the host.
    pub fn flush(&self) -> io::Result<()> {
        let file = self.written()?;
        if self.flushes { file.sync_data() } else { Ok(()) }
    }

    /// Lets go of the space of `length` bytes where the file system can.
    pub fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        erase::discard(self.written()?, offset, length)
    }

    /// Makes `length` bytes read as zeroes; keeps their space where the file system can, unless `unmap`.
    pub fn zero(&self, offset: u64, length: u64, unmap: bool) -> io::Result<()> {
        erase::zero(self.written()?, offset, length, unmap)
    }

    fn written(&self) -> io::Result<&File> {
        match &self.content {
            Content::Files(parts) if self.writable && parts.len() == 1 => Ok(&parts[0].file),
            _ => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        }
    }
}

/// Checks what a guest is to be shown; the disk's length in bytes.
pub fn check_parts(parts: &[Part]) -> Result<u64, Error> {
    if parts.is_empty() {
        return Err(Error::Empty);
    }
    let mut length = 0_u64;
    for (part, Part { length: part_length, .. }) in parts.iter().enumerate() {
        if !part_length.is_multiple_of(PART_ALIGNMENT) {
            return Err(Error::PartLength { part, length: *part_length });
        }
        length =
            length.checked_add(*part_length).filter(|&sum| sum <= i64::MAX as u64).ok_or(Error::TooLong)?;
    }
    Ok(length)
}

fn read_memory(copy: &[u8], buffers: &Buffers, offset: u64) -> io::Result<()> {
    let from = usize::try_from(offset).ok().and_then(|offset| copy.get(offset..));
    match from.map(|bytes| buffers.copy_from(bytes)) {
        Some(count) if count == buffers.len() => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn split<'m>(buffers: &Buffers<'m>, count: u64) -> io::Result<(Buffers<'m>, Buffers<'m>)> {
    let count = usize::try_from(count).ok();
    count.and_then(|count| buffers.split_at(count)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
#[path = "disk_test.rs"]
mod tests;

#[cfg(test)]
pub(crate) use tests::temporary_file;
