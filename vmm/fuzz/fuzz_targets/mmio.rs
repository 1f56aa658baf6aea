//! The register window: accesses in any order, with enough of the right ones among them that devices come up.
#![no_main]

use std::sync::{Arc, Mutex};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use vm_memory::{Bytes, GuestAddress};
use vmm::virtio::mock_driver::{MockDriver, MockQueue};
use vmm::virtio::pmem::PmemDevice;
use vmm::virtio::rng::Rng;
use vmm::virtio::{MmioTransport, VirtioDevice};

#[derive(Arbitrary, Debug)]
struct Input {
    pmem: bool,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Read {
        offset: u16,
        length: u8,
    },
    Write {
        offset: u16,
        bytes: [u8; 8],
        length: u8,
    },
    Register {
        number: u8,
        value: u32,
    },
    /// The next step of a driver that comes up as it should.
    Advance,
    /// A status with these bits, whether or not it is its time.
    Status(u8),
    Features(u64),
    /// VERSION_1 and others that are offered, or not.
    LikelyFeatures {
        version_1: bool,
        offered: u8,
        other: Option<u8>,
    },
    Queue {
        size: u16,
        addresses: [u32; 3],
        high: u8,
    },
    Buffer {
        length: u16,
    },
    Memory {
        address: u16,
        bytes: [u8; 8],
    },
    Serve,
}

const STATUS: u64 = 0x70;

fuzz_target!(|input: Input| {
    let device: Arc<Mutex<dyn VirtioDevice>> = match input.pmem {
        true => Arc::new(Mutex::new(PmemDevice::new(4 << 30, 2 << 20))),
        false => Arc::new(Mutex::new(Rng::default())),
    };
    let mut driver = MockDriver::new(&[64]);
    let mut window = MmioTransport::new(device, driver.memory.clone()).expect("transport");
    for step in input.steps.iter().take(256) {
        take(step, &mut window, &mut driver);
        let status = status(&window);
        let registers = window.frontend().registers();
        assert!(status & 8 == 0 || registers.driver_features & 1 << 32 != 0, "FEATURES_OK without VERSION_1");
        assert!(status & 4 == 0 || status & 8 != 0, "DRIVER_OK without FEATURES_OK");
    }
});

fn take(step: &Step, window: &mut MmioTransport, driver: &mut MockDriver) {
    match *step {
        Step::Read { offset, length } => {
            window.read(u64::from(offset % 0x1000), &mut vec![0; usize::from(length % 9)]);
        }
        Step::Write { offset, bytes, length } => {
            window.write(u64::from(offset % 0x1000), &bytes[..usize::from(length % 9)]);
        }
        Step::Register { number, value } => set(window, u64::from(number & 0x3f) * 4, value),
        Step::Advance => match status(window) {
            0 => set(window, STATUS, 1),
            1 => set(window, STATUS, 3),
            3 => {
                features(window, 1 << 32 | 1 << 29);
                set(window, STATUS, 11);
            }
            11 if !window.frontend().registers().queues[0].ready => {
                let queue: &MockQueue = &driver.queues[0];
                queue_registers(window, 64, queue.addresses());
            }
            11 => set(window, STATUS, 15),
            _ => set(window, STATUS, 0),
        },
        Step::Status(bits) => set(window, STATUS, u32::from(bits) & 0xcf),
        Step::LikelyFeatures { version_1, offered, other } => {
            let other = other.map_or(0, |bit| 1 << (bit % 64));
            features(window, u64::from(version_1) << 32 | u64::from(offered & 3) << 28 | other);
        }
        Step::Features(bits) => features(window, bits),
        Step::Queue { size, addresses, high } => {
            let [a, b, c] = addresses.map(|low| u64::from(low) | u64::from(high) << 32);
            queue_registers(window, size.into(), [a, b, c]);
        }
        Step::Buffer { length } => {
            driver.free_all();
            let buffer = driver.writable(length.into());
            driver.queues[0].add(&[buffer]);
        }
        Step::Memory { address, bytes } => {
            driver.memory.write_slice(&bytes, GuestAddress(address.into())).expect("low memory");
        }
        Step::Serve => {
            let _ = window.frontend().queue_events()[0].read();
            window.frontend().device().lock().expect("device").queue_notified(0);
            let _ = driver.queues[0].take_used();
        }
    }
}

fn status(window: &MmioTransport) -> u32 {
    let mut bytes = [0; 4];
    window.read(STATUS, &mut bytes);
    u32::from_le_bytes(bytes)
}

fn set(window: &mut MmioTransport, offset: u64, value: u32) {
    window.write(offset, &value.to_le_bytes());
}

fn features(window: &mut MmioTransport, bits: u64) {
    for (page, value) in [(0, bits as u32), (1, (bits >> 32) as u32)] {
        set(window, 0x24, page);
        set(window, 0x20, value);
    }
}

fn queue_registers(window: &mut MmioTransport, size: u32, addresses: [u64; 3]) {
    set(window, 0x30, 0);
    set(window, 0x38, size);
    for (low, address) in [0x80, 0x90, 0xa0].into_iter().zip(addresses) {
        set(window, low, address as u32);
        set(window, low + 4, (address >> 32) as u32);
    }
    set(window, 0x44, 1);
}
