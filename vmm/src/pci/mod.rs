//! A PCI bus without bridges: a host bridge in slot 0, and one virtio device in each slot from 1 on.
//!
//! The guest finds them by configuration mechanism #1 (PCI Local Bus Specification 3.0, section 3.2.2.3.2), which every
//! kernel knows, with or without ACPI. Every device has one page of registers, at an address that the monitor has put
//! into its base address register and the guest may change.

pub mod config_space;
pub mod msix;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::layout::{PCI_ADDRESS_PORT, PCI_DATA_PORT};
use crate::virtio::{PciTransport, pci};
use config_space::ConfigSpace;

/// Slots on the bus, the host bridge's included.
pub const SLOTS: usize = 32;

/// Red Hat's "QEMU PCIe host bridge": an identity that makes no kernel look for a chipset's quirks.
const HOST_BRIDGE: (u16, u16) = (0x1b36, 0x0008);
const HOST_BRIDGE_CLASS: u32 = 0x06_0000;

/// Bit 31 of the address register: accesses of the data register are accesses of configuration space.
const ENABLE: u32 = 1 << 31;

/// The bus and all that is on it; shared by all vCPUs.
pub struct PciBus {
    address: AtomicU32,
    host_bridge: ConfigSpace,
    /// Device n is in slot n + 1.
    devices: Vec<Device>,
}

struct Device {
    transport: Mutex<PciTransport>,
    /// Where its registers are, as [`Self::at`] has it: a device that serves a long write of one vCPU keeps no other
    /// from its neighbours.
    base: AtomicU64,
}

/// There are no registers.
const NOWHERE: u64 = u64::MAX;

impl Device {
    fn new(transport: PciTransport) -> Self {
        let base = AtomicU64::new(transport.base().unwrap_or(NOWHERE));
        Self { transport: Mutex::new(transport), base }
    }

    /// What a thread that panicked left is of the right shape; it is checked at every use anyway.
    fn lock(&self) -> MutexGuard<'_, PciTransport> {
        self.transport.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_config_space(&self, offset: usize, data: &[u8]) {
        let mut transport = self.lock();
        transport.write_config_space(offset, data);
        self.base.store(transport.base().unwrap_or(NOWHERE), Ordering::Release);
    }

    /// The offset of guest-physical `address` in the registers, if they lie there.
    fn offset_of(&self, address: u64) -> Option<u64> {
        address.checked_sub(self.base.load(Ordering::Acquire)).filter(|offset| *offset < pci::PAGE)
    }
}

impl PciBus {
    pub fn new(devices: Vec<PciTransport>) -> Self {
        Self {
            address: AtomicU32::new(0),
            host_bridge: ConfigSpace::new(HOST_BRIDGE, HOST_BRIDGE_CLASS, HOST_BRIDGE),
            devices: devices.into_iter().map(Device::new).collect(),
        }
    }

    /// The guest reads one of the bus's eight ports, or several of them at once.
    pub fn read_port(&self, port: u16, data: &mut [u8]) {
        let address = self.address.load(Ordering::Acquire);
        match (port, data.len()) {
            (PCI_ADDRESS_PORT, 4) => data.copy_from_slice(&address.to_le_bytes()),
            (PCI_DATA_PORT.., _) if address & ENABLE != 0 => {
                self.read_config(address, port - PCI_DATA_PORT, data);
            }
            _ => data.fill(0xff),
        }
    }

    /// The guest writes to one of the bus's eight ports, or to several of them at once.
    pub fn write_port(&self, port: u16, data: &[u8]) {
        match (port, <[u8; 4]>::try_from(data)) {
            (PCI_ADDRESS_PORT, Ok(value)) => self.address.store(u32::from_le_bytes(value), Ordering::Release),
            (PCI_DATA_PORT.., _) => {
                let address = self.address.load(Ordering::Acquire);
                if address & ENABLE != 0 {
                    self.write_config(address, port - PCI_DATA_PORT, data);
                }
            }
            _ => {}
        }
    }

    fn read_config(&self, address: u32, byte: u16, data: &mut [u8]) {
        let place = Place::of(address, byte);
        match place.slot {
            _ if !place.exists() => data.fill(0xff),
            0 => self.host_bridge.read(place.offset, data),
            slot => match self.devices.get(slot - 1) {
                Some(device) => device.lock().read_config_space(place.offset, data),
                None => data.fill(0xff),
            },
        }
    }

    fn write_config(&self, address: u32, byte: u16, data: &[u8]) {
        let place = Place::of(address, byte);
        // The host bridge has nothing to set.
        let device = place.slot.checked_sub(1).and_then(|index| self.devices.get(index));
        if let Some(device) = device.filter(|_| place.exists()) {
            device.write_config_space(place.offset, data);
        }
    }

    /// Whether a device's registers lie at guest-physical `address`; if so, they are read.
    pub fn read_memory(&self, address: u64, data: &mut [u8]) -> bool {
        self.at(address, |device, offset| device.read(offset, data))
    }

    /// Whether a device's registers lie at guest-physical `address`; if so, they are written to.
    pub fn write_memory(&self, address: u64, data: &[u8]) -> bool {
        self.at(address, |device, offset| device.write(offset, data))
    }

    /// Of several devices that a guest has put at one address, the first answers.
    fn at(&self, address: u64, access: impl FnOnce(&mut PciTransport, u64)) -> bool {
        for device in &self.devices {
            if let Some(offset) = device.offset_of(address) {
                access(&mut device.lock(), offset);
                return true;
            }
        }
        false
    }
}

/// What the address register points at, and the byte of the data register that is meant.
struct Place {
    bus: u32,
    slot: usize,
    function: u32,
    offset: usize,
}

impl Place {
    fn of(address: u32, byte: u16) -> Self {
        Self {
            bus: address >> 16 & 0xff,
            slot: (address >> 11 & 0x1f) as usize,
            function: address >> 8 & 7,
            offset: (address & 0xfc) as usize + usize::from(byte),
        }
    }

    /// There is one bus, and a device has one function.
    fn exists(&self) -> bool {
        self.bus == 0 && self.function == 0
    }
}

#[cfg(test)]
#[path = "pci_test.rs"]
mod tests;
