//! One request of a block driver (virtio 1.2, section 5.2.6): what it asks for, and its answer.

use virtio_bindings::virtio_blk::*;

use super::BlockDevice;
use super::disk::{Disk, SECTOR};
use crate::virtio::chain::{Buffers, Chain};

/// The most sectors that one DISCARD may name: 1 GiB.
pub const MAX_DISCARDED_SECTORS: u32 = 2 << 20;
/// The most sectors that one WRITE_ZEROES may name: 32 MiB, as many as one write. They may have to be written.
pub const MAX_ZEROED_SECTORS: u32 = 64 << 10;
/// Bytes of the device's name in the answer to GET_ID.
pub const ID_LENGTH: usize = VIRTIO_BLK_ID_BYTES as usize;

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

/// Carries out the request in `chain`; says how many bytes of it were written.
pub fn answer(device: &BlockDevice, chain: &Chain) -> u32 {
    // Without a place for the status, nothing can be answered at all.
    let Some((data, status)) = chain.writable.len().checked_sub(1).and_then(|at| chain.writable.split_at(at))
    else {
        return 0;
    };
    let (written, result) = match carry_out(device, &chain.readable, &data) {
        Ok(written) => (written, Status::Ok),
        Err(status) => (0, status),
    };
    status.copy_from(&[result as u8]);
    // The driver looks at the status only, wherever it is; what lies before it counts as written when it was.
    written as u32 + 1
}

/// Whether answering may take as long as the host's disk does. Announced beforehand, what was answered before need not
/// wait as well.
pub fn takes_long(chain: &Chain) -> bool {
    let kind = chain.readable.read_array().map(u32::from_le_bytes);
    matches!(kind, Some(VIRTIO_BLK_T_FLUSH | VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES))
}

/// Bytes of `writable` that hold the answer.
fn carry_out(device: &BlockDevice, readable: &Buffers, writable: &Buffers) -> Result<usize, Status> {
    let (header, data) = readable.split_at(HEADER).ok_or(Status::IoError)?;
    let header = header.read_array::<HEADER>().ok_or(Status::IoError)?;
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
            let flushed = || if device.flush_negotiated { Ok(()) } else { disk.flush() };
            device.noting_failure(disk.write(&data, offset).and_then(|()| flushed()))?;
        }
        VIRTIO_BLK_T_FLUSH if disk.is_writable() => device.noting_failure(disk.flush())?,
        VIRTIO_BLK_T_GET_ID => {
            let (id, _) = writable.split_at(ID_LENGTH).ok_or(Status::IoError)?;
            return Ok(id.copy_from(&device.id));
        }
        VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES if disk.is_writable() => erase(device, kind, &data)?,
        _ => return Err(Status::Unsupported),
    }
    Ok(0)
}

/// DISCARD and WRITE_ZEROES: we announce that one request has one range.
fn erase(device: &BlockDevice, kind: u32, data: &Buffers) -> Result<(), Status> {
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
