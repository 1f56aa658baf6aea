//! The entropy device (virtio 1.2, section 5.4): the host's random numbers, on request.

use std::sync::Arc;

use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;

use super::chain::{Buffers, Chain};
use super::device::{Activation, Error, VirtioDevice};
use super::ring::Ring;
use super::{COMMON_FEATURES, DeviceMemory, read_config_bytes};

const QUEUE_SIZES: [u16; 1] = [64];
/// Bytes given to one request. Linux asks for 64 at a time and is content with less than it asked for.
const BYTES_PER_REQUEST: usize = 64 << 10;

/// A source of entropy without state of its own.
#[derive(Default)]
pub struct Rng {
    active: Option<(Arc<DeviceMemory>, Ring)>,
}

impl VirtioDevice for Rng {
    fn kind(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn features(&self) -> u64 {
        COMMON_FEATURES
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_bytes(&[], offset, data);
    }

    fn activate(&mut self, mut activation: Activation) -> Result<(), Error> {
        let [ring] = activation.rings(VIRTIO_ID_RNG)?;
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
    fill(&chain.writable.first(BYTES_PER_REQUEST)) as u32
}

fn fill(buffers: &Buffers) -> usize {
    let mut random = [0; 256];
    let mut rest = buffers.clone();
    let mut filled = 0;
    while !rest.is_empty() {
        let wanted = rest.len().min(random.len());
        // SAFETY: the kernel writes at most `wanted` bytes, which `random` has.
        let count = unsafe { libc::getrandom(random.as_mut_ptr().cast(), wanted, 0) };
        let Ok(count) = usize::try_from(count) else { break };
        filled += rest.copy_from(&random[..count]);
        rest = rest.split_at(count).map(|(_, rest)| rest).unwrap_or_default();
    }
    filled
}

#[cfg(test)]
#[path = "rng_test.rs"]
mod tests;
