//! The register window of one device (virtio 1.2, section 4.2.2).

use std::sync::{Arc, Mutex};

use virtio_bindings::virtio_mmio::*;

use super::device::Error;
use super::frontend::{Frontend, set_high, set_low};
use super::{DeviceMemory, Interrupt, VirtioDevice};

/// Bytes of guest-physical address space that one device takes.
pub const WINDOW_SIZE: u64 = 0x1000;
/// Offset of the QueueNotify register, where the queues' ioeventfds go: a 4-byte write of the queue's index.
pub const QUEUE_NOTIFY: u64 = VIRTIO_MMIO_QUEUE_NOTIFY as u64;

const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VERSION: u32 = 2;
const VENDOR: u32 = u32::from_le_bytes(*b"vmrn");
const CONFIG: u64 = VIRTIO_MMIO_CONFIG as u64;

/// One device in its window.
pub struct MmioTransport {
    frontend: Frontend,
}

impl MmioTransport {
    pub fn new(device: Arc<Mutex<dyn VirtioDevice>>, memory: Arc<DeviceMemory>) -> Result<Self, Error> {
        let line = |_| Interrupt::line().map_err(Error::eventfd);
        Ok(Self { frontend: Frontend::new(device, memory, line)? })
    }

    pub fn frontend(&self) -> &Frontend {
        &self.frontend
    }

    /// A read of `data.len()` bytes at `offset` in the window.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        if offset >= CONFIG {
            return self.frontend.read_config(offset - CONFIG, data);
        }
        data.fill(0);
        if data.len() == 4 && offset.is_multiple_of(4) {
            data.copy_from_slice(&self.read_register(offset as u32).to_le_bytes());
        }
    }

    /// A write of `data` at `offset` in the window.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        if offset >= CONFIG {
            return self.frontend.write_config(offset - CONFIG, data);
        }
        if let Ok(value) = <[u8; 4]>::try_from(data)
            && offset.is_multiple_of(4)
        {
            self.write_register(offset as u32, u32::from_le_bytes(value));
        }
    }

    fn read_register(&self, register: u32) -> u32 {
        let front = &self.frontend;
        match register {
            VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            VIRTIO_MMIO_VERSION => VERSION,
            VIRTIO_MMIO_DEVICE_ID => front.kind(),
            VIRTIO_MMIO_VENDOR_ID => VENDOR,
            VIRTIO_MMIO_DEVICE_FEATURES => front.device_features(),
            VIRTIO_MMIO_QUEUE_NUM_MAX => front.queue_max_size().into(),
            VIRTIO_MMIO_QUEUE_READY => u32::from(front.queue().is_some_and(|queue| queue.ready)),
            VIRTIO_MMIO_INTERRUPT_STATUS => front.interrupt().status(),
            VIRTIO_MMIO_STATUS => front.status(),
            VIRTIO_MMIO_CONFIG_GENERATION => front.interrupt().configuration_generation(),
            // No shared memory region exists: its length reads as all ones.
            VIRTIO_MMIO_SHM_LEN_LOW
            | VIRTIO_MMIO_SHM_LEN_HIGH
            | VIRTIO_MMIO_SHM_BASE_LOW
            | VIRTIO_MMIO_SHM_BASE_HIGH => u32::MAX,
            _ => 0,
        }
    }

    fn write_register(&mut self, register: u32, value: u32) {
        let front = &mut self.frontend;
        match register {
            VIRTIO_MMIO_DEVICE_FEATURES_SEL => front.select_device_features(value),
            VIRTIO_MMIO_DRIVER_FEATURES_SEL => front.select_driver_features(value),
            VIRTIO_MMIO_DRIVER_FEATURES => front.write_driver_features(value),
            VIRTIO_MMIO_QUEUE_SEL => front.select_queue(value),
            VIRTIO_MMIO_QUEUE_NOTIFY => front.notify(value as usize),
            VIRTIO_MMIO_INTERRUPT_ACK => front.interrupt().acknowledge(value),
            VIRTIO_MMIO_STATUS => front.write_status(value),
            VIRTIO_MMIO_QUEUE_READY if value & 1 == 1 => front.set_queue_ready(true),
            VIRTIO_MMIO_QUEUE_READY => front.stop_queue(),
            _ => front.change_queue(|queue| match register {
                VIRTIO_MMIO_QUEUE_NUM => queue.size = value,
                VIRTIO_MMIO_QUEUE_DESC_LOW => set_low(&mut queue.descriptors, value),
                VIRTIO_MMIO_QUEUE_DESC_HIGH => set_high(&mut queue.descriptors, value),
                VIRTIO_MMIO_QUEUE_AVAIL_LOW => set_low(&mut queue.available, value),
                VIRTIO_MMIO_QUEUE_AVAIL_HIGH => set_high(&mut queue.available, value),
                VIRTIO_MMIO_QUEUE_USED_LOW => set_low(&mut queue.used, value),
                VIRTIO_MMIO_QUEUE_USED_HIGH => set_high(&mut queue.used, value),
                _ => {}
            }),
        }
    }
}

#[cfg(test)]
#[path = "mmio_test.rs"]
mod tests;
