use virtio_bindings::virtio_config::*;

use super::*;
use crate::pci::msix::NO_VECTOR;
use crate::virtio::frontend::Registers;
use crate::virtio::mock_driver::MockDriver;
use crate::virtio::rng::Rng;
use crate::virtio::{COMMON_FEATURES, interrupt};

const DRIVER: u8 = (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER) as u8;
const NEGOTIATED: u8 = DRIVER | VIRTIO_CONFIG_S_FEATURES_OK as u8;
const RUNNING: u8 = NEGOTIATED | VIRTIO_CONFIG_S_DRIVER_OK as u8;

const HOME: u32 = 0xd000_1000;
const MESSAGE: (u64, u32) = (0xfee0_1004, 0x4023);

/// What was sent to the guest's processors.
#[derive(Default)]
struct Heard(Mutex<Vec<(u64, u32)>>);

impl MessageSink for Heard {
    fn send(&self, address: u64, data: u32) {
        self.0.lock().unwrap().push((address, data));
    }
}

struct Function {
    transport: PciTransport,
    driver: MockDriver,
    heard: Arc<Heard>,
}

impl Function {
    fn new() -> Self {
        let driver = MockDriver::new(&[64]);
        let heard = Arc::new(Heard::default());
        let device = Arc::new(Mutex::new(Rng::default()));
        let transport = PciTransport::new(device, driver.memory.clone(), heard.clone(), HOME, 3).unwrap();
        Self { transport, driver, heard }
    }

    fn get<const N: usize>(&self, offset: u64) -> u64 {
        let mut bytes = [0xee; 8];
        self.transport.read(offset, &mut bytes[..N]);
        bytes[N..].fill(0);
        u64::from_le_bytes(bytes)
    }

    fn set<const N: usize>(&mut self, offset: u64, value: u64) {
        self.transport.write(offset, &value.to_le_bytes()[..N]);
    }

    fn config(&self, offset: usize) -> u32 {
        let mut bytes = [0xee; 4];
        self.transport.read_config_space(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn set_config(&mut self, offset: usize, value: u32) {
        self.transport.write_config_space(offset, &value.to_le_bytes());
    }

    fn status(&self) -> u8 {
        self.get::<1>(0x14) as u8
    }

    fn negotiate(&mut self, features: u64) {
        for status in [0, VIRTIO_CONFIG_S_ACKNOWLEDGE as u8, DRIVER] {
            self.set::<1>(0x14, status.into());
        }
        for (page, half) in [(0, features & 0xffff_ffff), (1, features >> 32)] {
            self.set::<4>(0x08, page);
            self.set::<4>(0x0c, half);
        }
        self.set::<1>(0x14, NEGOTIATED.into());
    }

    fn set_up_queue(&mut self) {
        self.set::<2>(0x16, 0);
        for (field, address) in [0x20, 0x28, 0x30].into_iter().zip(self.driver.queues[0].addresses()) {
            self.set::<4>(field, address & 0xffff_ffff);
            self.set::<4>(field + 4, address >> 32);
        }
        self.set::<2>(0x1c, 1);
    }

    /// Vector 1 is the queue's.
    fn set_up_messages(&mut self) {
        self.set_config(self.transport.msix_at, 0x8000_0000);
        self.set::<4>(TABLE + 16, MESSAGE.0);
        self.set::<4>(TABLE + 24, MESSAGE.1.into());
        self.set::<4>(TABLE + 28, 0);
        self.set::<2>(0x1a, 1);
    }

    fn come_up(&mut self) {
        self.set_config(4, 6);
        self.negotiate(COMMON_FEATURES);
        self.set_up_messages();
        self.set_up_queue();
        self.set::<1>(0x14, RUNNING.into());
        assert_eq!(self.status(), RUNNING);
    }

    fn serve_a_buffer(&mut self) {
        let buffer = self.driver.writable(16);
        self.driver.queues[0].add(&[buffer]);
        self.transport.frontend().device().lock().unwrap().queue_notified(0);
        assert!(self.driver.queues[0].take_used().is_some());
    }

    fn take_messages(&self) -> Vec<(u64, u32)> {
        std::mem::take(&mut self.heard.0.lock().unwrap())
    }
}

#[test]
fn a_driver_finds_its_way_by_the_capabilities() {
    let function = Function::new();
    assert_eq!(function.config(0), 0x1044_1af4);
    let mut at = function.config(0x34) as usize & 0xff;
    let mut found = Vec::new();
    while at != 0 {
        let head = function.config(at);
        let id = head as u8;
        let kind = if id == VENDOR_SPECIFIC { (head >> 24) as u8 } else { 0 };
        found.push((id, kind, function.config(at + 8), function.config(at + 12)));
        at = (head >> 8) as usize & 0xff;
    }
    let messages = found.remove(4);
    assert_eq!((messages.0, messages.2), (MSI_X, PENDING as u32));
    assert_eq!(function.config(function.transport.msix_at) >> 16, 1, "two vectors");
    assert_eq!(
        found,
        [
            (9, COMMON_CAPABILITY, 0, 0x38),
            (9, ISR_CAPABILITY, 0x40, 1),
            // Three notifications belong to the devices before it.
            (9, NOTIFY_CAPABILITY, 0x80c, 4),
            (9, DEVICE_CAPABILITY, 0x500, 0x300),
            (9, CONFIG_ACCESS_CAPABILITY, 0, 0),
        ]
    );
}

#[test]
fn a_driver_comes_up_is_served_and_goes() {
    let mut function = Function::new();
    assert_eq!((function.get::<2>(0x12), function.get::<2>(0x18)), (1, 64));
    function.set::<2>(0x16, 1);
    assert_eq!(function.get::<2>(0x18), 0, "there is no such queue");
    function.come_up();
    assert_eq!((function.get::<2>(0x1a), function.get::<2>(0x1c)), (1, 1));

    function.serve_a_buffer();
    assert_eq!(function.take_messages(), [MESSAGE]);
    assert_eq!(function.get::<1>(ISR), u64::from(interrupt::USED_BUFFER));
    assert_eq!(function.get::<1>(ISR), 0, "reading it forgets it");

    // Notified where its queue is, and nowhere else.
    let kick = function.transport.frontend().queue_events()[0].clone();
    kick.read().unwrap();
    function.set::<2>(NOTIFY, 0);
    function.set::<2>(NOTIFY + 0x10, 0);
    assert!(kick.read().is_err());
    function.set::<2>(NOTIFY + 0x0c, 0);
    assert_eq!(kick.read().unwrap(), 1);
    assert_eq!(function.transport.notification_address(0), u64::from(HOME) + 0x80c);

    function.set::<1>(0x14, 0);
    assert_eq!(*function.transport.frontend().registers(), Registers::new(&[64]));
    assert_eq!(function.get::<2>(0x1a), u64::from(NO_VECTOR));
}

#[test]
fn what_is_masked_is_heard_of_later_and_once() {
    let mut function = Function::new();
    function.come_up();
    for (mask, unmask) in [((TABLE + 28, 1), (TABLE + 28, 0)), ((0, 0xc000), (0, 0x8000))] {
        let write = |function: &mut Function, (at, value): (u64, u64)| match at {
            0 => function.set_config(function.transport.msix_at, (value as u32) << 16),
            _ => function.set::<4>(at, value),
        };
        write(&mut function, mask);
        function.serve_a_buffer();
        function.serve_a_buffer();
        assert_eq!((function.take_messages(), function.get::<8>(PENDING)), (vec![], 0b10));
        write(&mut function, unmask);
        assert_eq!((function.take_messages(), function.get::<8>(PENDING)), (vec![MESSAGE], 0));
    }
    function.set_config(function.transport.msix_at, 0);
    function.serve_a_buffer();
    assert_eq!((function.take_messages(), function.get::<8>(PENDING)), (vec![], 0), "MSI-X is off");
}

#[test]
fn a_device_that_may_not_use_the_bus_waits_until_it_may() {
    let mut function = Function::new();
    function.come_up();
    let kick = function.transport.frontend().queue_events()[0].clone();
    let _ = kick.read();
    function.set_config(4, 2);
    let buffer = function.driver.writable(16);
    function.driver.queues[0].add(&[buffer]);
    function.transport.frontend().device().lock().unwrap().queue_notified(0);
    assert_eq!(function.driver.queues[0].take_used(), None);
    function.transport.frontend().interrupt().configuration_changed();
    function.transport.frontend().interrupt().used_buffer(0);
    assert_eq!((function.take_messages(), function.get::<8>(PENDING)), (vec![], 0b10));

    function.set_config(4, 6);
    assert_eq!(function.take_messages(), [MESSAGE]);
    assert_eq!(kick.read().unwrap(), 1, "what has waited is looked for");
    function.transport.frontend().device().lock().unwrap().queue_notified(0);
    assert!(function.driver.queues[0].take_used().is_some());
}

#[test]
fn vectors_that_do_not_exist_are_none() {
    let mut function = Function::new();
    function.come_up();
    for vector in [2, 64, 0xfffe] {
        function.set::<2>(0x10, vector);
        function.set::<2>(0x1a, vector);
        assert_eq!((function.get::<2>(0x10), function.get::<2>(0x1a)), (0xffff, 0xffff));
    }
    function.serve_a_buffer();
    assert_eq!(function.take_messages(), []);
}

#[test]
fn the_registers_are_where_the_guest_has_put_them() {
    let mut function = Function::new();
    assert_eq!(function.transport.base(), None, "memory is not enabled");
    function.set_config(4, 2);
    assert_eq!(function.transport.base(), Some(HOME.into()));
    function.set_config(0x10, 0xe000_0123);
    assert_eq!(function.transport.base(), Some(0xe000_0000));
    function.set_config(0x10, u32::MAX);
    assert_eq!(function.transport.base(), Some(0xffff_f000));
}

#[test]
fn the_registers_can_be_reached_from_configuration_space() {
    let mut function = Function::new();
    let at = function.transport.access_at;
    for (offset, length, expected) in [
        (0x12, 2, Some(1)),
        (0x18, 1, Some(64)),
        (0x13, 2, None),
        (0xffe, 4, None),
        (u32::MAX, 4, None),
        (0, 3, None),
    ] {
        function.set_config(at + 8, offset);
        function.set_config(at + 12, length);
        let mut bytes = [0; 4];
        function.transport.read_config_space(at + 16, &mut bytes[..length as usize]);
        assert_eq!(u32::from_le_bytes(bytes), expected.unwrap_or(0), "{offset:#x} {length}");
    }
    function.set_config(at + 8, 0x14);
    function.set_config(at + 12, 1);
    function.transport.write_config_space(at + 16, &[1]);
    assert_eq!(function.status(), 1);
}

#[test]
fn odd_accesses_do_nothing() {
    let mut function = Function::new();
    for offset in 0..PAGE {
        for length in 0..=8 {
            let mut bytes = vec![0xff; length];
            function.transport.write(offset, &bytes);
            function.transport.read(offset, &mut bytes);
        }
    }
    for offset in 0..260 {
        for length in 0..=8 {
            let mut bytes = vec![0xff; length];
            function.transport.write_config_space(offset, &bytes);
            function.transport.read_config_space(offset, &mut bytes);
        }
    }
    assert_eq!(function.config(0), 0x1044_1af4);
    assert_eq!(function.take_messages(), []);
}

#[test]
fn a_queue_that_cannot_be_asks_for_a_reset() {
    let mut function = Function::new();
    function.set_config(4, 6);
    function.negotiate(COMMON_FEATURES);
    function.set_up_messages();
    function.set::<2>(0x10, 1);
    function.set::<1>(0x14, RUNNING.into());
    assert_eq!(function.status(), RUNNING | VIRTIO_CONFIG_S_NEEDS_RESET as u8);
    assert_eq!(function.take_messages(), [MESSAGE]);
    assert_eq!(function.get::<1>(ISR), u64::from(interrupt::CONFIGURATION));
}

#[test]
fn more_notifications_than_the_page_has_are_refused() {
    let build = |notifications| {
        let device = Arc::new(Mutex::new(Rng::default()));
        let memory = MockDriver::new(&[64]).memory;
        PciTransport::new(device, memory, Arc::new(Heard::default()), HOME, notifications).is_ok()
    };
    assert!(build(511));
    assert!(!build(512));
}
