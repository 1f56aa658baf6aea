//! The balloon (virtio 1.2, section 5.5): the way by which the guest's memory comes back to the host.
//!
//! What counts is free page reporting: the guest's kernel says which blocks of its memory (2 MiB, as a rule) it has no
//! use for, and the host takes their pages until they are touched again. The balloon proper has no target, so no driver
//! has a reason to put pages into it; those of one that does stay where they are. Whatever a guest says of its own memory,
//! it harms nobody else: a page that is given back reads as zeroes.

use std::sync::Arc;

use virtio_bindings::virtio_ids::VIRTIO_ID_BALLOON;
use vm_memory::VolatileSlice;

use super::device::{Activation, Error, VirtioDevice};
use super::ring::Ring;
use super::{COMMON_FEATURES, DeviceMemory, read_config_bytes};

/// Feature bits (virtio 1.2, section 5.5.3).
const VIRTIO_BALLOON_F_DEFLATE_ON_OOM: u32 = 2;
const VIRTIO_BALLOON_F_PAGE_POISON: u32 = 4;
const VIRTIO_BALLOON_F_REPORTING: u32 = 5;

/// Inflate, deflate, statistics, hints and reports. Neither statistics nor hints are offered, and what index the queue
/// of reports then has, drivers see differently: before Linux 6.11 it follows the second, later it is the fifth.
const QUEUE_SIZES: [u16; 5] = [128; 5];
const INFLATE: usize = 0;
const DEFLATE: usize = 1;
const NEEDED_QUEUES: usize = 2;

/// The host's pages.
const PAGE: u64 = 4096;

const CONFIG_LENGTH: usize = 16;
/// `actual`: pages in the balloon, which the driver tells.
const ACTUAL: std::ops::Range<usize> = 4..8;
/// `poison_val`: what the driver finds in a free page.
const POISON: std::ops::Range<usize> = 12..16;

/// The device. Its state is what the driver wrote to the configuration space.
#[derive(Default)]
pub struct Balloon {
    config: [u8; CONFIG_LENGTH],
    poison_negotiated: bool,
    active: Option<Active>,
}

struct Active {
    memory: Arc<DeviceMemory>,
    inflate: Ring,
    deflate: Ring,
    reports: Vec<Ring>,
}

impl Balloon {
    /// Whether free pages may come back as zeroes: a guest that checks what it finds in them must not miss it.
    fn zeroes_are_fine(&self) -> bool {
        !self.poison_negotiated || self.config[POISON] == [0; 4]
    }
}

impl VirtioDevice for Balloon {
    fn kind(&self) -> u32 {
        VIRTIO_ID_BALLOON
    }

    fn features(&self) -> u64 {
        COMMON_FEATURES
            | 1 << VIRTIO_BALLOON_F_DEFLATE_ON_OOM
            | 1 << VIRTIO_BALLOON_F_PAGE_POISON
            | 1 << VIRTIO_BALLOON_F_REPORTING
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn needed_queues(&self) -> usize {
        NEEDED_QUEUES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_bytes(&self.config, offset, data);
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        let Ok(offset) = usize::try_from(offset) else { return };
        for (at, byte) in (offset.min(CONFIG_LENGTH)..CONFIG_LENGTH).zip(data) {
            if ACTUAL.contains(&at) || POISON.contains(&at) {
                self.config[at] = *byte;
            }
        }
    }

    fn activate(&mut self, mut activation: Activation) -> Result<(), Error> {
        let mut rings = activation.all_rings().into_iter();
        let missing = |ready| Error::QueuesMissing { kind: VIRTIO_ID_BALLOON, needed: NEEDED_QUEUES, ready };
        let inflate = rings.next().ok_or(missing(0))?;
        let deflate = rings.next().ok_or(missing(1))?;
        self.poison_negotiated = activation.features & 1 << VIRTIO_BALLOON_F_PAGE_POISON != 0;
        self.active = Some(Active { memory: activation.memory, inflate, deflate, reports: rings.collect() });
        Ok(())
    }

    fn queue_notified(&mut self, index: usize) {
        let gives_back = self.zeroes_are_fine();
        let Some(Active { memory, inflate, deflate, reports }) = &mut self.active else { return };
        match index {
            // A system call for each single page is more than what they are worth.
            INFLATE => inflate.serve_all(memory, |_| 0),
            DEFLATE => deflate.serve_all(memory, |_| 0),
            _ => reports.iter_mut().for_each(|ring| {
                ring.serve_all(memory, |chain| {
                    if gives_back {
                        chain.writable.slices().iter().for_each(give_back);
                    }
                    0
                });
            }),
        }
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Gives the whole pages within `slice`, which is guest memory, back to the host.
fn give_back(slice: &VolatileSlice) {
    let address = slice.ptr_guard_mut().as_ptr();
    let before = address.align_offset(PAGE as usize);
    let whole = slice.len().saturating_sub(before) / PAGE as usize * PAGE as usize;
    if whole > 0 {
        // SAFETY: the range lies within `slice`, which is memory of the guest: private, anonymous, mapped for as long as
        // the process lives and never borrowed as Rust's own. It reads as zeroes afterwards, a change such as the guest
        // could make itself at any time. A host that does not do it (locked memory) loses nothing.
        unsafe { libc::madvise(address.add(before).cast(), whole, libc::MADV_DONTNEED) };
    }
}

#[cfg(test)]
#[path = "balloon_test.rs"]
mod tests;
