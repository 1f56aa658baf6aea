//! The persistent memory device (virtio 1.2, section 5.19): tells the guest where a mapped disk lies.
//!
//! The guest reads the disk as memory, through KVM's memory slot over a [`mapping::Mapping`], without this code. The
//! only request is a flush, and nothing is ever written.

mod copy;
pub mod mapping;

use std::sync::Arc;

use virtio_bindings::virtio_ids::VIRTIO_ID_PMEM;

use super::chain::Chain;
use super::device::{Activation, Error, VirtioDevice};
use super::ring::Ring;
use super::{COMMON_FEATURES, DeviceMemory, read_config_bytes};

const QUEUE_SIZES: [u16; 1] = [64];
const FLUSH: u32 = 0;
const DONE: u32 = 0;
const UNKNOWN: u32 = u32::MAX;

/// A disk in the guest's physical address space.
pub struct PmemDevice {
    start: u64,
    size: u64,
    active: Option<(Arc<DeviceMemory>, Ring)>,
}

impl PmemDevice {
    /// A region of `size` bytes at the guest-physical address `start`; both are multiples of
    /// [`mapping::ALIGNMENT`].
    pub fn new(start: u64, size: u64) -> Self {
        Self { start, size, active: None }
    }
}

impl VirtioDevice for PmemDevice {
    fn kind(&self) -> u32 {
        VIRTIO_ID_PMEM
    }

    fn features(&self) -> u64 {
        COMMON_FEATURES
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let mut config = [0; 16];
        config[..8].copy_from_slice(&self.start.to_le_bytes());
        config[8..].copy_from_slice(&self.size.to_le_bytes());
        read_config_bytes(&config, offset, data);
    }

    fn activate(&mut self, mut activation: Activation) -> Result<(), Error> {
        let [ring] = activation.rings(VIRTIO_ID_PMEM)?;
        self.active = Some((activation.memory, ring));
        Ok(())
    }

    fn queue_notified(&mut self, _index: usize) {
        if let Some((memory, ring)) = &mut self.active {
            ring.serve_all(memory, answer);
        }
    }

    fn reset(&mut self) {
        self.active = None;
    }
}

fn answer(chain: &Chain) -> u32 {
    let result = match chain.readable.read_array::<4>().map(u32::from_le_bytes) {
        Some(FLUSH) => DONE,
        _ => UNKNOWN,
    };
    match chain.writable.len() >= size_of_val(&result) {
        true => chain.writable.copy_from(&result.to_le_bytes()) as u32,
        false => 0,
    }
}

#[cfg(test)]
#[path = "pmem_test.rs"]
mod tests;
