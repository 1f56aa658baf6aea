//! What the guest reaches by port and memory accesses that KVM hands to the monitor.
//!
//! Everything that is not there behaves as on a bus with nobody home: reads give ones, writes go nowhere.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::devices::Transports;
use crate::layout;
use crate::observer::{End, Observer, Trouble};
use crate::pci::PciBus;
use crate::serial::SerialPort;
use crate::virtio::MmioTransport;

/// Shared by all vCPUs.
pub struct Bus {
    serial: Mutex<SerialPort>,
    observer: Arc<dyn Observer>,
    virtio: Virtio,
    /// Guest-physical addresses of persistent memory.
    pmem: Vec<Range<u64>>,
    dropped_pmem_writes: AtomicU64,
}

/// Where the virtio devices are.
enum Virtio {
    /// Device n lies in window n (see [`layout::mmio_window`]).
    Windows(Vec<Mutex<MmioTransport>>),
    Pci(Box<PciBus>),
}

const SERIAL_END: u16 = layout::SERIAL_PORT + layout::SERIAL_PORTS;
const PCI_END: u16 = layout::PCI_ADDRESS_PORT + layout::PCI_PORTS;

impl Bus {
    pub fn new(
        serial: SerialPort,
        observer: Arc<dyn Observer>,
        transports: Transports,
        pmem: Vec<Range<u64>>,
    ) -> Self {
        let virtio = match transports {
            Transports::Mmio(windows) => Virtio::Windows(windows.into_iter().map(Mutex::new).collect()),
            Transports::Pci(devices) => Virtio::Pci(Box::new(PciBus::new(devices))),
        };
        Self { serial: Mutex::new(serial), observer, virtio, pmem, dropped_pmem_writes: AtomicU64::new(0) }
    }

    /// The guest reads `data.len()` bytes from `port`.
    pub fn read_port(&self, port: u16, data: &mut [u8]) {
        match port {
            layout::SERIAL_PORT..SERIAL_END => {
                let mut serial = lock(&self.serial);
                data.iter_mut().for_each(|byte| *byte = serial.read((port - layout::SERIAL_PORT) as u8));
            }
            layout::SLEEP_STATUS_PORT => data.fill(0),
            layout::PCI_ADDRESS_PORT..PCI_END => match &self.virtio {
                Virtio::Pci(bus) => bus.read_port(port, data),
                Virtio::Windows(_) => data.fill(0xff),
            },
            _ => data.fill(0xff),
        }
    }

    /// The guest writes `data` to `port`; some writes are the machine's end.
    pub fn write_port(&self, port: u16, data: &[u8]) -> Option<End> {
        let writes = |value| data.contains(&value);
        match port {
            layout::SERIAL_PORT..SERIAL_END => {
                let mut serial = lock(&self.serial);
                data.iter().for_each(|byte| serial.write((port - layout::SERIAL_PORT) as u8, *byte));
            }
            layout::PCI_ADDRESS_PORT..PCI_END => {
                if let Virtio::Pci(bus) = &self.virtio {
                    bus.write_port(port, data);
                }
            }
            layout::STAMP_PORT => data.iter().for_each(|byte| self.observer.stamp(*byte)),
            layout::SLEEP_CONTROL_PORT if writes(layout::POWER_OFF) => return Some(End::PowerOff),
            layout::RESET_PORT if writes(layout::RESET_VALUE) => return Some(self.reset()),
            layout::KEYBOARD_PORT if writes(layout::KEYBOARD_RESET) => return Some(self.reset()),
            _ => {}
        }
        None
    }

    /// The guest reads `data.len()` bytes at guest-physical `address`, where there is no memory.
    pub fn read_memory(&self, address: u64, data: &mut [u8]) {
        let found = match &self.virtio {
            Virtio::Pci(bus) => bus.read_memory(address, data),
            Virtio::Windows(windows) => {
                window(windows, address).map(|(window, offset)| lock(window).read(offset, data)).is_some()
            }
        };
        if !found {
            data.fill(0xff);
        }
    }

    /// The guest writes `data` at guest-physical `address`, where there is no memory or none that it may write.
    pub fn write_memory(&self, address: u64, data: &[u8]) {
        let found = match &self.virtio {
            Virtio::Pci(bus) => bus.write_memory(address, data),
            Virtio::Windows(windows) => {
                window(windows, address).map(|(window, offset)| lock(window).write(offset, data)).is_some()
            }
        };
        if !found && self.is_pmem(address) {
            let before = self.dropped_pmem_writes.fetch_add(1, Ordering::Relaxed);
            if before == 0 {
                self.observer.trouble(Trouble::PmemWrite);
            }
        }
    }

    pub fn is_pmem(&self, address: u64) -> bool {
        self.pmem.iter().any(|range| range.contains(&address))
    }

    pub fn has_pmem(&self) -> bool {
        !self.pmem.is_empty()
    }

    pub fn dropped_pmem_writes(&self) -> u64 {
        self.dropped_pmem_writes.load(Ordering::Relaxed)
    }

    /// Passes on what the serial port still holds and takes its last output.
    pub fn finish_serial(&self) -> Vec<u8> {
        lock(&self.serial).finish()
    }

    /// A kernel that panics restarts the machine, as its command line tells it to.
    pub fn reset(&self) -> End {
        if lock(&self.serial).panicked() { End::Panic } else { End::Reboot }
    }
}

/// The window that `address` lies in, and the offset there.
fn window(windows: &[Mutex<MmioTransport>], address: u64) -> Option<(&Mutex<MmioTransport>, u64)> {
    let offset = address.checked_sub(layout::MMIO_START)?;
    let index = usize::try_from(offset / layout::MMIO_SIZE).ok()?;
    Some((windows.get(index)?, offset % layout::MMIO_SIZE))
}

/// State that a panicking thread left is still of the right shape; the guest may go on with it.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
