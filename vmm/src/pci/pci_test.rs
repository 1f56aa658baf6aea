use std::sync::Arc;

use super::msix::MessageSink;
use super::*;
use crate::virtio::PciTransport;
use crate::virtio::mock_driver::MockDriver;
use crate::virtio::rng::Rng;

struct Nobody;

impl MessageSink for Nobody {
    fn send(&self, _: u64, _: u32) {}
}

const HOMES: [u32; 2] = [0xd000_0000, 0xd000_1000];

fn bus() -> PciBus {
    let memory = MockDriver::new(&[64]).memory;
    let device = |(index, &home): (usize, &u32)| {
        let rng = Arc::new(Mutex::new(Rng::default()));
        PciTransport::new(rng, memory.clone(), Arc::new(Nobody), home, index).unwrap()
    };
    PciBus::new(HOMES.iter().enumerate().map(device).collect())
}

impl PciBus {
    fn point(&self, slot: u32, offset: u32) {
        self.write_port(PCI_ADDRESS_PORT, &(ENABLE | slot << 11 | offset).to_le_bytes());
    }

    fn word(&self, slot: u32, offset: u32) -> u32 {
        self.point(slot, offset);
        let mut bytes = [0; 4];
        self.read_port(PCI_DATA_PORT, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn set(&self, slot: u32, offset: u32, value: u32) {
        self.point(slot, offset);
        self.write_port(PCI_DATA_PORT, &value.to_le_bytes());
    }
}

#[test]
fn a_bus_has_a_host_bridge_and_its_devices_and_nothing_more() {
    let bus = bus();
    let found: Vec<_> = (0..32).map(|slot| bus.word(slot, 0)).filter(|id| *id != u32::MAX).collect();
    assert_eq!(found, [0x0008_1b36, 0x1044_1af4, 0x1044_1af4]);
    assert_eq!(bus.word(0, 8) >> 16, 0x0600, "how kernels know that configuration mechanism #1 works");
    // Other functions, other buses.
    assert_eq!(bus.word(1, 1 << 8), u32::MAX);
    assert_eq!(bus.word(1, 1 << 16), u32::MAX);
    bus.set(0, 4, u32::MAX);
    assert_eq!(bus.word(0, 4), 0);
}

#[test]
fn configuration_space_is_read_at_any_width_and_only_while_enabled() {
    let bus = bus();
    let mut byte = [0];
    bus.point(1, 0);
    bus.read_port(PCI_DATA_PORT + 3, &mut byte);
    assert_eq!(byte, [0x10]);
    let mut many = [0; 64];
    bus.point(31, 0xfc);
    bus.read_port(PCI_DATA_PORT + 3, &mut many);
    assert_eq!(many, [0xff; 64]);
    bus.point(1, 0xfc);
    bus.read_port(PCI_DATA_PORT + 3, &mut many);
    assert_eq!(many[1..], [0xff; 63]);
    bus.write_port(PCI_DATA_PORT + 3, &many);

    // As kernels look whether the mechanism is there.
    bus.write_port(PCI_ADDRESS_PORT + 3, &[1]);
    bus.write_port(PCI_ADDRESS_PORT, &[0, 0, 0, 0x80]);
    let mut address = [0; 4];
    bus.read_port(PCI_ADDRESS_PORT, &mut address);
    assert_eq!(address, [0, 0, 0, 0x80]);
    bus.write_port(PCI_ADDRESS_PORT, &[0; 4]);
    bus.read_port(PCI_DATA_PORT, &mut address);
    assert_eq!(address, [0xff; 4]);
}

#[test]
fn memory_is_the_first_device_s_that_is_there() {
    let bus = bus();
    let status = |address: u64| {
        let mut byte = [0xee];
        bus.read_memory(address + 0x14, &mut byte).then_some(byte[0])
    };
    assert_eq!(status(HOMES[0].into()), None, "not enabled");
    bus.set(1, 4, 2);
    bus.set(2, 4, 2);
    assert!(bus.write_memory(u64::from(HOMES[1]) + 0x14, &[1]));
    assert_eq!((status(HOMES[0].into()), status(HOMES[1].into())), (Some(0), Some(1)));
    bus.set(2, 0x10, HOMES[0]);
    assert_eq!((status(HOMES[0].into()), status(HOMES[1].into())), (Some(0), None));
    bus.set(1, 0x10, 0);
    assert_eq!((status(HOMES[0].into()), status(0)), (Some(1), Some(0)));
    bus.set(1, 0x10, u32::MAX);
    assert_eq!((status(0xffff_f000), status(0xffff_f000 - 0x15)), (Some(0), None));
    assert!(!bus.write_memory(u64::MAX, &[1]) && !bus.write_memory(1 << 32, &[1]));
}

#[test]
fn a_busy_device_keeps_nobody_from_its_neighbour() {
    let bus = bus();
    bus.set(1, 4, 2);
    bus.set(2, 4, 2);
    let _busy = bus.devices[0].lock();
    assert!(bus.write_memory(u64::from(HOMES[1]) + 0x14, &[1]));
}
