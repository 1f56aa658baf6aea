//! The block device (virtio 1.2, section 5.2), read-only over the parts of an image or writable over one file.
//!
//! Requests are carried out one after another, straight between the files and guest memory: a disk that is only read on
//! the thread of all devices, one that is written to on its own, where nobody waits for its flushes.

pub mod disk;
mod erase;
mod request;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use virtio_bindings::virtio_blk::*;
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;

use self::disk::{Disk, SECTOR};
use self::request::{ID_LENGTH, MAX_DISCARDED_SECTORS, MAX_ZEROED_SECTORS};
use super::device::{Activation, Error, VirtioDevice};
use super::ring::Ring;
use super::{COMMON_FEATURES, DeviceMemory, read_config_bytes};
use crate::observer::{Trouble, Troubles};

const QUEUE_SIZES: [u16; 1] = [256];
/// Segments of data in a request; with its header and its status it fills the queue once.
const MAX_SEGMENTS: u32 = 254;
/// Bytes of a segment, which bounds a request to 32 MiB and so the time that one can take.
const MAX_SEGMENT_SIZE: u32 = 128 << 10;
/// The host works in pages: a smaller write would make it read first. As a power of two of sectors.
const PHYSICAL_BLOCK_EXPONENT: u8 = 3;
const CONFIG_LENGTH: usize = 60;

/// A disk and the name by which the guest can know it (`/sys/block/vda/serial`).
pub struct BlockDevice {
    disk: Disk,
    id: [u8; ID_LENGTH],
    /// Without it, the driver may take every finished write for a lasting one.
    flush_negotiated: bool,
    active: Option<(Arc<DeviceMemory>, Ring)>,
    troubles: Option<Arc<Troubles>>,
    has_told_read: AtomicBool,
    has_told_write: AtomicBool,
}

impl BlockDevice {
    /// `id` is cut to 20 bytes.
    pub fn new(disk: Disk, id: &str) -> Self {
        let mut id_bytes = [0; ID_LENGTH];
        for (to, from) in id_bytes.iter_mut().zip(id.bytes()) {
            *to = from;
        }
        Self {
            disk,
            id: id_bytes,
            flush_negotiated: false,
            active: None,
            troubles: None,
            has_told_read: false.into(),
            has_told_write: false.into(),
        }
    }

    /// Lets the host hear of reads and writes that failed.
    pub fn telling(self, troubles: Arc<Troubles>) -> Self {
        Self { troubles: Some(troubles), ..self }
    }

    fn read_failed(&self, error: &io::Error) {
        self.tell(&self.has_told_read, |disk| Trouble::DiskRead { disk, cause: error.to_string() });
    }

    /// The result of what was to change the disk.
    fn noting_failure(&self, done: io::Result<()>) -> io::Result<()> {
        done.inspect_err(|error| {
            self.tell(&self.has_told_write, |disk| Trouble::DiskWrite { disk, cause: error.to_string() });
        })
    }

    fn tell(&self, has_told: &AtomicBool, trouble: impl FnOnce(String) -> Trouble) {
        let Some(troubles) = &self.troubles else { return };
        if !has_told.swap(true, Ordering::Relaxed) {
            let name = self.id.split(|byte| *byte == 0).next().unwrap_or_default();
            troubles.tell(trouble(String::from_utf8_lossy(name).into_owned()));
        }
    }

    /// `struct virtio_blk_config`, little-endian.
    fn config(&self) -> [u8; CONFIG_LENGTH] {
        let mut config = [0; CONFIG_LENGTH];
        let mut put = |at: usize, bytes: &[u8]| config[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &(self.disk.length() / SECTOR).to_le_bytes());
        put(8, &MAX_SEGMENT_SIZE.to_le_bytes());
        put(12, &MAX_SEGMENTS.to_le_bytes());
        put(20, &(SECTOR as u32).to_le_bytes());
        put(24, &[PHYSICAL_BLOCK_EXPONENT]);
        put(26, &(1_u16 << PHYSICAL_BLOCK_EXPONENT).to_le_bytes());
        if self.disk.is_writable() {
            let erase_alignment = 1_u32 << PHYSICAL_BLOCK_EXPONENT;
            put(36, &MAX_DISCARDED_SECTORS.to_le_bytes());
            put(40, &1_u32.to_le_bytes());
            put(44, &erase_alignment.to_le_bytes());
            put(48, &MAX_ZEROED_SECTORS.to_le_bytes());
            put(52, &1_u32.to_le_bytes());
            put(56, &[1]);
        }
        config
    }
}

impl VirtioDevice for BlockDevice {
    fn kind(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn features(&self) -> u64 {
        let both = 1 << VIRTIO_BLK_F_SEG_MAX
            | 1 << VIRTIO_BLK_F_SIZE_MAX
            | 1 << VIRTIO_BLK_F_BLK_SIZE
            | 1 << VIRTIO_BLK_F_TOPOLOGY;
        let own = match self.disk.is_writable() {
            false => 1 << VIRTIO_BLK_F_RO,
            true => 1 << VIRTIO_BLK_F_FLUSH | 1 << VIRTIO_BLK_F_DISCARD | 1 << VIRTIO_BLK_F_WRITE_ZEROES,
        };
        COMMON_FEATURES | both | own
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_bytes(&self.config(), offset, data);
    }

    fn activate(&mut self, mut activation: Activation) -> Result<(), Error> {
        let [ring] = activation.rings(VIRTIO_ID_BLOCK)?;
        self.flush_negotiated = activation.features & 1 << VIRTIO_BLK_F_FLUSH != 0;
        self.active = Some((activation.memory, ring));
        Ok(())
    }

    fn queue_notified(&mut self, _index: usize) {
        // Taken out for the turn, because a request is answered by the whole device.
        if let Some((memory, mut ring)) = self.active.take() {
            ring.serve_all_with_pauses(&memory, request::takes_long, |chain| request::answer(self, chain));
            self.active = Some((memory, ring));
        }
    }

    fn waits_for_disk(&self) -> bool {
        self.disk.is_writable()
    }

    fn reset(&mut self) {
        self.active = None;
        self.flush_negotiated = false;
    }
}

#[cfg(test)]
#[path = "block_test.rs"]
mod tests;
