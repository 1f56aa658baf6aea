//! One device as a function on the PCI bus (virtio 1.2, section 4.1), without the legacy interface.
//!
//! All its registers lie in one page, wherever its base address register says:
//!
//! ```text
//! 0x000  common configuration        0x100  MSI-X table, 64 entries
//! 0x040  ISR                         0x500  the device's own configuration
//! 0x080  MSI-X pending bits          0x800  notification of queues, 4 bytes each
//! ```
//!
//! No two devices of a machine have a queue's notification at the same offset. Those of the addresses that the monitor
//! gave go to the event loop past the vCPU's thread; where a guest has moved a device, they come here and are as right,
//! and none of them can be taken for another device's.

use std::sync::{Arc, Mutex};

use super::device::Error;
use super::frontend::{Frontend, set_high, set_low};
use super::{DeviceMemory, Interrupt, VirtioDevice};
use crate::pci::config_space::ConfigSpace;
use crate::pci::msix::{self, MessageSink, Msix};

/// Bytes of a device's registers.
pub const PAGE: u64 = 0x1000;

const COMMON: u64 = 0x000;
const COMMON_SIZE: u64 = 0x38;
const ISR: u64 = 0x040;
const ISR_SIZE: u64 = 1;
const PENDING: u64 = 0x080;
const TABLE: u64 = 0x100;
const TABLE_END: u64 = DEVICE;
const DEVICE: u64 = 0x500;
const DEVICE_SIZE: u64 = NOTIFY - DEVICE;
const NOTIFY: u64 = 0x800;
/// Bytes from one queue's notification to the next one's.
const NOTIFY_STEP: u64 = 4;
/// The vectors that there is room for in the table.
const MOST_VECTORS: usize = ((TABLE_END - TABLE) as usize) / msix::ENTRY;
/// The notifications that there is room for, all devices' together.
const NOTIFICATIONS: u64 = (PAGE - NOTIFY) / NOTIFY_STEP;

const VENDOR: u16 = 0x1af4;
/// Device ID of a modern virtio device, less its kind.
const MODERN: u16 = 0x1040;
/// A device that fits no class.
const CLASS: u32 = 0xff_0000;

/// IDs of capabilities.
const VENDOR_SPECIFIC: u8 = 0x09;
const MSI_X: u8 = 0x11;
/// Upper byte of MSI-X's Message Control.
const MSI_X_ENABLE: u8 = 1 << 7;
const MSI_X_MASK: u8 = 1 << 6;

/// Kinds of virtio's capabilities (virtio 1.2, section 4.1.4).
const COMMON_CAPABILITY: u8 = 1;
const NOTIFY_CAPABILITY: u8 = 2;
const ISR_CAPABILITY: u8 = 3;
const DEVICE_CAPABILITY: u8 = 4;
const CONFIG_ACCESS_CAPABILITY: u8 = 5;
/// The fields of struct virtio_pci_cfg_cap through which the registers can be reached from configuration space.
const ACCESS_OFFSET: usize = 8;
const ACCESS_LENGTH: usize = 12;
const ACCESS_DATA: usize = 16;

/// One device on the bus.
pub struct PciTransport {
    frontend: Frontend,
    msix: Arc<Msix>,
    config: ConfigSpace,
    /// Where the monitor has put the registers.
    home: u64,
    /// The first of its notifications, of those of all devices.
    first_notification: u64,
    /// Where in configuration space the two capabilities lie that do something.
    msix_at: usize,
    access_at: usize,
}

impl PciTransport {
    /// A device with its registers at the guest-physical address `home`. Those before it on the bus have
    /// `notifications` queues together.
    pub fn new(
        device: Arc<Mutex<dyn VirtioDevice>>,
        memory: Arc<DeviceMemory>,
        sink: Arc<dyn MessageSink>,
        home: u32,
        notifications: usize,
    ) -> Result<Self, Error> {
        let mut messages = None;
        let frontend = Frontend::new(device, memory, |queues| {
            let msix = Arc::new(Msix::new(queues, sink));
            messages = Some(msix.clone());
            Ok(Interrupt::messages(msix))
        })?;
        frontend.allow_bus(false);
        let queues = frontend.queue_events().len();
        let first_notification = notifications as u64;
        let fits = first_notification.saturating_add(queues as u64) <= NOTIFICATIONS && queues < MOST_VECTORS;
        let Some(msix) = messages.filter(|_| fits) else {
            return Err(Error::TooManyQueues { kind: frontend.kind(), queues });
        };
        let kind = frontend.kind() as u16;
        let mut config = ConfigSpace::new((VENDOR, MODERN.wrapping_add(kind)), CLASS, (VENDOR, kind));
        config.add_memory(home, PAGE as u32);
        let notify = (NOTIFY + first_notification * NOTIFY_STEP, queues as u64 * NOTIFY_STEP);
        add_virtio(&mut config, COMMON_CAPABILITY, (COMMON, COMMON_SIZE), &[], &[]);
        add_virtio(&mut config, ISR_CAPABILITY, (ISR, ISR_SIZE), &[], &[]);
        add_virtio(&mut config, NOTIFY_CAPABILITY, notify, &(NOTIFY_STEP as u32).to_le_bytes(), &[]);
        add_virtio(&mut config, DEVICE_CAPABILITY, (DEVICE, DEVICE_SIZE), &[], &[]);
        let msix_at = add_msix(&mut config, msix.vectors());
        // Offset and length. The registers are all in the one page there is.
        let settable = [[0; 6].as_slice(), &[0xff; 8]].concat();
        let access_at = add_virtio(&mut config, CONFIG_ACCESS_CAPABILITY, (0, 0), &[0; 4], &settable);
        Ok(Self { frontend, msix, config, home: home.into(), first_notification, msix_at, access_at })
    }

    pub fn frontend(&self) -> &Frontend {
        &self.frontend
    }

    /// The guest-physical address where the driver notifies queue `index`, as long as it leaves the device where it is.
    pub fn notification_address(&self, index: usize) -> u64 {
        self.home + NOTIFY + (self.first_notification + index as u64) * NOTIFY_STEP
    }

    /// The guest-physical address of the registers, while the guest has them answer.
    pub fn base(&self) -> Option<u64> {
        self.config.memory()
    }

    /// A read of configuration space.
    pub fn read_config_space(&self, offset: usize, data: &mut [u8]) {
        self.config.read(offset, data);
        if offset == self.access_at + ACCESS_DATA
            && let Some((offset, length)) = self.access()
            && let Some(data) = data.get_mut(..length)
        {
            self.read(offset, data);
        }
    }

    /// A write to configuration space.
    pub fn write_config_space(&mut self, offset: usize, data: &[u8]) {
        if offset == self.access_at + ACCESS_DATA {
            if let Some((offset, length)) = self.access()
                && let Some(data) = data.get(..length)
            {
                self.write(offset, data);
            }
            return;
        }
        self.config.write(offset, data);
        let control = self.config.byte(self.msix_at + 3);
        let master = self.config.is_bus_master();
        self.frontend.allow_bus(master);
        self.msix.control(control & MSI_X_ENABLE != 0, control & MSI_X_MASK != 0 || !master);
    }

    /// The registers that the driver wants to reach from configuration space, and how many bytes of them.
    fn access(&self) -> Option<(u64, usize)> {
        let offset = u64::from(self.config.word(self.access_at + ACCESS_OFFSET));
        let length = self.config.word(self.access_at + ACCESS_LENGTH);
        let fits = matches!(length, 1 | 2 | 4)
            && offset.is_multiple_of(length.into())
            && offset + u64::from(length) <= PAGE;
        fits.then_some((offset, length as usize))
    }

    /// A read of `data.len()` bytes at `offset` in the registers.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        let front = &self.frontend;
        match offset {
            COMMON..ISR => {
                let common = self.common();
                super::read_config_bytes(&common, offset, data);
            }
            ISR => {
                data.fill(0);
                if let Some(first) = data.first_mut() {
                    *first = front.interrupt().take_status() as u8;
                }
            }
            PENDING..TABLE => self.msix.read_pending((offset - PENDING) as usize, data),
            TABLE..TABLE_END => self.msix.read_table((offset - TABLE) as usize, data),
            DEVICE..NOTIFY => front.read_config(offset - DEVICE, data),
            _ => data.fill(0),
        }
    }

    /// A write of `data` at `offset` in the registers.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        match offset {
            COMMON..ISR => self.write_common(offset, data),
            TABLE..TABLE_END => self.msix.write_table((offset - TABLE) as usize, data),
            DEVICE..NOTIFY => self.frontend.write_config(offset - DEVICE, data),
            NOTIFY..PAGE => {
                let queue = ((offset - NOTIFY) / NOTIFY_STEP).checked_sub(self.first_notification);
                if let Some(queue) = queue {
                    self.frontend.notify(queue as usize);
                }
            }
            _ => {}
        }
    }

    /// struct virtio_pci_common_cfg (virtio 1.2, section 4.1.4.3), as it reads now.
    fn common(&self) -> Vec<u8> {
        let front = &self.frontend;
        let registers = front.registers();
        let none = Default::default();
        let queue = front.queue().unwrap_or(&none);
        let selected = registers.selected_queue as usize;
        let exists = front.queue().is_some();
        let mut bytes = Vec::with_capacity(COMMON_SIZE as usize);
        for word in [
            registers.device_features_page,
            front.device_features(),
            registers.driver_features_page,
            front.driver_features(),
        ] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(self.msix.configuration_vector().to_le_bytes());
        bytes.extend((registers.queues.len() as u16).to_le_bytes());
        bytes.extend([front.status() as u8, front.interrupt().configuration_generation() as u8]);
        for half in [
            registers.selected_queue as u16,
            queue.size as u16,
            self.msix.queue_vector(selected),
            u16::from(queue.ready),
            if exists { selected as u16 } else { 0 },
        ] {
            bytes.extend(half.to_le_bytes());
        }
        for address in [queue.descriptors, queue.available, queue.used] {
            bytes.extend(address.to_le_bytes());
        }
        bytes
    }

    /// Fields are written as wide as they are; those of 64 bits in halves.
    fn write_common(&mut self, offset: u64, data: &[u8]) {
        let front = &mut self.frontend;
        let value = match *data {
            [a] => a.into(),
            [a, b] => u16::from_le_bytes([a, b]).into(),
            [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
            _ => return,
        };
        match (offset, data.len()) {
            (0x00, 4) => front.select_device_features(value),
            (0x08, 4) => front.select_driver_features(value),
            (0x0c, 4) => front.write_driver_features(value),
            (0x10, 2) => self.msix.set_configuration_vector(value as u16),
            (0x14, 1) => front.write_status(value),
            (0x16, 2) => front.select_queue(value),
            (0x18, 2) => front.change_queue(|queue| queue.size = value),
            (0x1a, 2) => {
                let queue = front.registers().selected_queue as usize;
                self.msix.set_queue_vector(queue, value as u16);
            }
            // A driver takes a queue back by a reset only.
            (0x1c, 2) if value == 1 => front.set_queue_ready(true),
            (0x20, 4) => front.change_queue(|queue| set_low(&mut queue.descriptors, value)),
            (0x24, 4) => front.change_queue(|queue| set_high(&mut queue.descriptors, value)),
            (0x28, 4) => front.change_queue(|queue| set_low(&mut queue.available, value)),
            (0x2c, 4) => front.change_queue(|queue| set_high(&mut queue.available, value)),
            (0x30, 4) => front.change_queue(|queue| set_low(&mut queue.used, value)),
            (0x34, 4) => front.change_queue(|queue| set_high(&mut queue.used, value)),
            _ => {}
        }
    }
}

/// struct virtio_pci_cap and what follows it; `settable` are bits of it from its length on.
fn add_virtio(
    config: &mut ConfigSpace,
    kind: u8,
    (offset, size): (u64, u64),
    rest: &[u8],
    settable: &[u8],
) -> usize {
    const LENGTH: usize = 16;
    let mut body = vec![(LENGTH + rest.len()) as u8, kind, 0, 0, 0, 0];
    body.extend((offset as u32).to_le_bytes());
    body.extend((size as u32).to_le_bytes());
    body.extend(rest);
    config.add_capability(VENDOR_SPECIFIC, &body, settable)
}

fn add_msix(config: &mut ConfigSpace, vectors: usize) -> usize {
    let mut body = ((vectors - 1) as u16).to_le_bytes().to_vec();
    body.extend((TABLE as u32).to_le_bytes());
    body.extend((PENDING as u32).to_le_bytes());
    config.add_capability(MSI_X, &body, &[0, MSI_X_ENABLE | MSI_X_MASK])
}

#[cfg(test)]
#[path = "pci_test.rs"]
mod tests;
