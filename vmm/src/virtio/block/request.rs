//! One request of a block driver (virtio 1.2, section 5.2.6): what it asks for, and its answer.

use std::io;

use virtio_bindings::virtio_blk::*;

use super::disk::{Disk, SECTOR};
use super::{BlockDevice, MAX_SEGMENT_SIZE, MAX_SEGMENTS};
use crate::virtio::chain::{Buffers, Chain};
use crate::virtio::ring::Answer;

/// The most sectors that one DISCARD may name: 1 GiB.
pub const MAX_DISCARDED_SECTORS: u32 = 2 << 20;
/// The most sectors that one WRITE_ZEROES may name: 32 MiB, as many as one write. They may have to be written.
pub const MAX_ZEROED_SECTORS: u32 = 64 << 10;
/// Bytes of the device's name in the answer to GET_ID.
pub const ID_LENGTH: usize = VIRTIO_BLK_ID_BYTES as usize;

/// The most data that a driver that believes our configuration puts into a request.
const MAX_DATA: usize = MAX_SEGMENTS as usize * MAX_SEGMENT_SIZE as usize;

const HEADER: usize = 16;
const ERASED_RANGE: usize = 16;

/// How a request ended, as its last byte says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Status {
    Ok = VIRTIO_BLK_S_OK as u8,
    IoError = VIRTIO_BLK_S_IOERR as u8,
    Unsupported = VIRTIO_BLK_S_UNSUPP as u8,
}

impl From<std::io::Error> for Status {
    fn from(_: std::io::Error) -> Self {
        Status::IoError
    }
}

/// Carries out the request in `chain`. Nothing where there is no place to say how it ended: a driver that has cleared
/// the status beforehand, as Linux does, would take it for a success.
pub fn answer(device: &BlockDevice, chain: &Chain) -> Option<Answer> {
    let place = chain.writable.len().checked_sub(1).and_then(|at| chain.writable.split_at(at));
    let Some((data, status)) = place else {
        let said = chain.refused_at.copy_from(&[Status::IoError as u8]);
        return (said == 1).then_some(Answer { written: 1, work: 0 });
    };
    let mut work = 0;
    let (written, result) = match carry_out(device, &chain.readable, &data, &mut work) {
        Ok(written) => (written, Status::Ok),
        Err(status) => (0, status),
    };
    status.copy_from(&[result as u8]);
    // The driver looks at the status only, wherever it is; what lies before it counts as written when it was.
    Some(Answer { written: written as u32 + 1, work })
}

/// Whether answering may take as long as the host's disk does. Announced beforehand, what was answered before need not
/// wait as well.
pub fn takes_long(chain: &Chain) -> bool {
    let kind = chain.readable.read_array().map(u32::from_le_bytes);
    matches!(kind, Some(VIRTIO_BLK_T_FLUSH | VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES))
}

/// Bytes of `writable` that hold the answer. `work` is what else there was to do, see [`Answer`].
fn carry_out(
    device: &BlockDevice,
    readable: &Buffers,
    writable: &Buffers,
    work: &mut usize,
) -> Result<usize, Status> {
    let (header, data) = readable.split_at(HEADER).ok_or(Status::IoError)?;
    let header = header.read_array::<HEADER>().ok_or(Status::IoError)?;
    if data.len().max(writable.len()) > MAX_DATA {
        return Err(Status::IoError);
    }
    let kind = u32_at(&header, 0);
    let sector = u64_at(&header, 8);
    let disk = &device.disk;
    match kind {
        VIRTIO_BLK_T_IN => {
            let offset = checked_range(disk, sector, writable.len() as u64)?;
            disk.read(writable, offset).inspect_err(|error| device.read_failed(error))?;
            return Ok(writable.len());
        }
        VIRTIO_BLK_T_OUT => {
            let offset = checked_range(disk, sector, data.len() as u64)?;
            let mut flushed = || if device.flush_negotiated { Ok(()) } else { flush(disk, work) };
            device.noting_failure(write(disk, &data, offset).and_then(|()| flushed()))?;
        }
        VIRTIO_BLK_T_FLUSH if disk.is_writable() => device.noting_failure(flush(disk, work))?,
        VIRTIO_BLK_T_GET_ID => {
            let (id, _) = writable.split_at(ID_LENGTH).ok_or(Status::IoError)?;
            return Ok(id.copy_from(&device.id));
        }
        VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES if disk.is_writable() => {
            erase(device, kind, &data, work)?
        }
        _ => return Err(Status::Unsupported),
    }
    Ok(0)
}

fn write(disk: &Disk, data: &Buffers, offset: u64) -> io::Result<()> {
    disk.write(data, offset).map_err(|error| match error.raw_os_error() {
        Some(libc::EFAULT) => {
            io::Error::other("what it was to take is on a disk whose file has become shorter")
        }
        _ => error,
    })
}

/// Takes as long as the host's disk does, and so a turn of its own.
fn flush(disk: &Disk, work: &mut usize) -> io::Result<()> {
    *work = Answer::WHOLE_TURN;
    disk.flush()
}

/// DISCARD and WRITE_ZEROES: we announce that one request has one range.
fn erase(device: &BlockDevice, kind: u32, data: &Buffers, work: &mut usize) -> Result<(), Status> {
    if data.len() != ERASED_RANGE {
        return Err(Status::IoError);
    }
    let range = data.read_array::<ERASED_RANGE>().ok_or(Status::IoError)?;
    let (sector, sectors, flags) = (u64_at(&range, 0), u32_at(&range, 8), u32_at(&range, 12));
    let unmap = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP != 0;
    if flags & !VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP != 0 || kind == VIRTIO_BLK_T_DISCARD && unmap {
        return Err(Status::Unsupported);
    }
    let most = if kind == VIRTIO_BLK_T_DISCARD { MAX_DISCARDED_SECTORS } else { MAX_ZEROED_SECTORS };
    if sectors > most {
        return Err(Status::IoError);
    }
    let length = u64::from(sectors) * SECTOR;
    let disk = &device.disk;
    let offset = checked_range(disk, sector, length)?;
    *work = length as usize;
    device.noting_failure(match kind == VIRTIO_BLK_T_DISCARD {
        true => disk.discard(offset, length),
        false => disk.zero(offset, length, unmap),
    })?;
    Ok(())
}

/// The byte offset of `sector`, if `length` bytes from there are whole sectors of the disk.
fn checked_range(disk: &Disk, sector: u64, length: u64) -> Result<u64, Status> {
    let offset = sector.checked_mul(SECTOR).ok_or(Status::IoError)?;
    let end = offset.checked_add(length).ok_or(Status::IoError)?;
    if !length.is_multiple_of(SECTOR) || end > disk.length() {
        return Err(Status::IoError);
    }
    Ok(offset)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].iter().take(4).rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
