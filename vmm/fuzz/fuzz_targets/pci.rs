//! The PCI bus: accesses of its ports and of memory in any order, with enough of the right ones among them that devices
//! are found, moved, brought up and interrupt.
#![no_main]

use std::sync::{Arc, Mutex};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use vmm::pci::PciBus;
use vmm::pci::msix::MessageSink;
use vmm::virtio::mock_driver::MockDriver;
use vmm::virtio::pmem::PmemDevice;
use vmm::virtio::rng::Rng;
use vmm::virtio::{PciTransport, VirtioDevice};

#[derive(Arbitrary, Debug)]
enum Step {
    Port {
        port: u8,
        write: bool,
        bytes: [u8; 8],
        length: u8,
    },
    /// A word of configuration space.
    Config {
        slot: u8,
        offset: u8,
        value: u32,
    },
    Memory {
        device: u8,
        offset: u16,
        write: bool,
        bytes: [u8; 8],
        length: u8,
    },
    /// Anywhere, as a guest reaches what it has moved.
    Anywhere {
        address: u64,
        bytes: [u8; 8],
    },
    /// Lets a device answer at its home, or at another address.
    Place {
        device: u8,
        page: Option<u32>,
    },
    Message {
        device: u8,
        vector: u8,
        entry: [u32; 4],
        control: u8,
    },
    /// The next step of a driver that comes up as it should.
    Advance {
        device: u8,
    },
    Buffer {
        device: u8,
        length: u16,
    },
}

const HOME: u32 = 0xd000_0000;
const PAGE: u32 = 0x1000;
/// Where a device's MSI-X capability is: the fifth.
const MSIX: u8 = 0x84;
const COMMAND: u8 = 4;
const BASE_ADDRESS: u8 = 0x10;

struct Nobody;

impl MessageSink for Nobody {
    fn send(&self, _address: u64, _data: u32) {}
}

struct Machine {
    bus: PciBus,
    devices: Vec<Arc<Mutex<dyn VirtioDevice>>>,
    driver: MockDriver,
}

fuzz_target!(|steps: Vec<Step>| {
    let driver = MockDriver::new(&[64]);
    let devices: Vec<Arc<Mutex<dyn VirtioDevice>>> =
        vec![Arc::new(Mutex::new(Rng::default())), Arc::new(Mutex::new(PmemDevice::new(4 << 30, 2 << 20)))];
    let transports = devices.iter().enumerate().map(|(index, device)| {
        let home = HOME + index as u32 * PAGE;
        PciTransport::new(device.clone(), driver.memory.clone(), Arc::new(Nobody), home, index)
            .expect("device")
    });
    let bus = PciBus::new(transports.collect());
    let mut machine = Machine { bus, devices, driver };
    for step in steps.iter().take(256) {
        machine.take(step);
        assert_eq!(machine.config(0, 0), 0x0008_1b36);
        assert_eq!([1, 2].map(|slot| machine.config(slot, 0)), [0x1044_1af4, 0x105b_1af4]);
    }
});

impl Machine {
    fn take(&mut self, step: &Step) {
        match *step {
            Step::Port { port, write, mut bytes, length } => {
                let port = 0xcf8 + u16::from(port & 7);
                let data = &mut bytes[..usize::from(length % 9)];
                match write {
                    true => self.bus.write_port(port, data),
                    false => self.bus.read_port(port, data),
                }
            }
            Step::Config { slot, offset, value } => self.set_config(slot & 3, offset, value),
            Step::Memory { device, offset, write, mut bytes, length } => {
                let address = self.home(device) + u64::from(offset) % u64::from(PAGE);
                let data = &mut bytes[..usize::from(length % 9)];
                match write {
                    true => self.bus.write_memory(address, data),
                    false => self.bus.read_memory(address, data),
                };
            }
            Step::Anywhere { address, mut bytes } => {
                self.bus.read_memory(address, &mut bytes);
                self.bus.write_memory(address, &bytes);
            }
            Step::Place { device, page } => {
                let place = page.unwrap_or(self.home(device) as u32);
                self.set_config(device % 2 + 1, BASE_ADDRESS, place);
                self.set_config(device % 2 + 1, COMMAND, 6);
            }
            Step::Message { device, vector, entry, control } => {
                self.set_config(device % 2 + 1, MSIX, u32::from(control) << 24);
                let at = self.home(device) + 0x100 + u64::from(vector & 3) * 16;
                for (word, at) in entry.iter().zip((at..).step_by(4)) {
                    self.bus.write_memory(at, &word.to_le_bytes());
                }
                self.register(device, 0x10, &[vector & 3, 0]);
                self.register(device, 0x1a, &[vector >> 2 & 3, 0]);
            }
            Step::Advance { device } => self.advance(device),
            Step::Buffer { device, length } => {
                self.driver.free_all();
                let buffer = self.driver.writable(length.into());
                self.driver.queues[0].add(&[buffer]);
                let device = &self.devices[usize::from(device % 2)];
                device.lock().expect("device").queue_notified(0);
                let _ = self.driver.queues[0].take_used();
            }
        }
    }

    fn advance(&mut self, device: u8) {
        self.set_config(device % 2 + 1, COMMAND, 6);
        let mut status = [0];
        self.bus.read_memory(self.home(device) + 0x14, &mut status);
        match status[0] {
            0 => self.register(device, 0x14, &[1]),
            1 => self.register(device, 0x14, &[3]),
            3 => {
                for (page, features) in [(0, 1_u32 << 29), (1, 1)] {
                    self.register(device, 0x08, &u32::to_le_bytes(page));
                    self.register(device, 0x0c, &features.to_le_bytes());
                }
                self.register(device, 0x14, &[11]);
            }
            11 => {
                self.register(device, 0x16, &[0, 0]);
                for (field, address) in [0x20, 0x28, 0x30].into_iter().zip(self.driver.queues[0].addresses())
                {
                    self.register(device, field, &(address as u32).to_le_bytes());
                }
                self.register(device, 0x1c, &[1, 0]);
                self.register(device, 0x14, &[15]);
            }
            _ => self.register(device, 0x14, &[0]),
        }
    }

    fn home(&self, device: u8) -> u64 {
        u64::from(HOME) + u64::from(device % 2) * u64::from(PAGE)
    }

    fn register(&self, device: u8, offset: u64, bytes: &[u8]) {
        self.bus.write_memory(self.home(device) + offset, bytes);
    }

    fn config(&self, slot: u8, offset: u8) -> u32 {
        self.point(slot, offset);
        let mut bytes = [0; 4];
        self.bus.read_port(0xcfc, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn set_config(&self, slot: u8, offset: u8, value: u32) {
        self.point(slot, offset);
        self.bus.write_port(0xcfc + u16::from(offset & 3), &value.to_le_bytes());
    }

    fn point(&self, slot: u8, offset: u8) {
        let address = 1 << 31 | u32::from(slot) << 11 | u32::from(offset);
        self.bus.write_port(0xcf8, &address.to_le_bytes());
    }
}
