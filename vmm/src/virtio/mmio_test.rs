use std::sync::atomic::{AtomicUsize, Ordering};

use virtio_bindings::virtio_config::*;
use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::virtio::frontend::Registers;
use crate::virtio::mock_driver::MockDriver;
use crate::virtio::rng::Rng;
use crate::virtio::{Activation, COMMON_FEATURES, interrupt};

const DRIVER: u32 = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
const NEGOTIATED: u32 = DRIVER | VIRTIO_CONFIG_S_FEATURES_OK;
const RUNNING: u32 = NEGOTIATED | VIRTIO_CONFIG_S_DRIVER_OK;

struct Window(MmioTransport);

impl Window {
    fn new() -> (Self, MockDriver) {
        Self::with(Arc::new(Mutex::new(Rng::default())), &[64])
    }

    fn with(device: Arc<Mutex<dyn VirtioDevice>>, sizes: &[u16]) -> (Self, MockDriver) {
        let driver = MockDriver::new(sizes);
        (Self(MmioTransport::new(device, driver.memory.clone()).unwrap()), driver)
    }

    fn get(&self, register: u32) -> u32 {
        let mut bytes = [0xee; 4];
        self.0.read(u64::from(register), &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn set(&mut self, register: u32, value: u32) {
        self.0.write(u64::from(register), &value.to_le_bytes());
    }

    /// The steps of a driver up to FEATURES_OK.
    fn negotiate(&mut self, features: u64) {
        self.set(VIRTIO_MMIO_STATUS, 0);
        self.set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
        self.set(VIRTIO_MMIO_STATUS, DRIVER);
        self.set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
        self.set(VIRTIO_MMIO_DRIVER_FEATURES, (features >> 32) as u32);
        self.set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
        self.set(VIRTIO_MMIO_DRIVER_FEATURES, features as u32);
        self.set(VIRTIO_MMIO_STATUS, NEGOTIATED);
    }

    fn set_up_queue(&mut self, size: u32, [descriptors, available, used]: [u64; 3]) {
        self.set(VIRTIO_MMIO_QUEUE_SEL, 0);
        assert_eq!(self.get(VIRTIO_MMIO_QUEUE_READY), 0);
        self.set(VIRTIO_MMIO_QUEUE_NUM, size);
        for (low, address) in [
            (VIRTIO_MMIO_QUEUE_DESC_LOW, descriptors),
            (VIRTIO_MMIO_QUEUE_AVAIL_LOW, available),
            (VIRTIO_MMIO_QUEUE_USED_LOW, used),
        ] {
            self.set(low, address as u32);
            self.set(low + 4, (address >> 32) as u32);
        }
        self.set(VIRTIO_MMIO_QUEUE_READY, 1);
    }

    fn status(&self) -> u32 {
        self.get(VIRTIO_MMIO_STATUS)
    }
}

#[test]
fn identifies_itself() {
    let (mut window, _) = Window::new();
    assert_eq!(window.get(VIRTIO_MMIO_MAGIC_VALUE), 0x7472_6976);
    assert_eq!(window.get(VIRTIO_MMIO_VERSION), 2);
    assert_eq!(window.get(VIRTIO_MMIO_DEVICE_ID), 4);
    assert_eq!(window.get(VIRTIO_MMIO_QUEUE_NUM_MAX), 64);
    window.set(VIRTIO_MMIO_QUEUE_SEL, 1);
    assert_eq!(window.get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
    assert_eq!(window.get(VIRTIO_MMIO_SHM_LEN_LOW), u32::MAX);
    let mut features = 0;
    for page in [0, 1, 2] {
        window.set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, page);
        features |= u128::from(window.get(VIRTIO_MMIO_DEVICE_FEATURES)) << (32 * page);
    }
    assert_eq!(features, u128::from(COMMON_FEATURES));
}

#[test]
fn a_driver_comes_up_is_served_and_goes() {
    let (mut window, mut driver) = Window::new();
    window.negotiate(COMMON_FEATURES);
    assert_eq!(window.status(), NEGOTIATED);
    window.set_up_queue(64, driver.queues[0].addresses());
    assert_eq!(window.get(VIRTIO_MMIO_QUEUE_READY), 1);
    let buffer = driver.writable(16);
    driver.queues[0].add(&[buffer]);
    window.set(VIRTIO_MMIO_STATUS, RUNNING);
    assert_eq!(window.status(), RUNNING);

    // The buffer was there before the device: it is told of by itself.
    window.0.frontend().queue_events()[0].read().unwrap();
    window.0.frontend().device().lock().unwrap().queue_notified(0);
    assert_eq!(driver.queues[0].take_used(), Some((0, 16)));
    assert_eq!(window.get(VIRTIO_MMIO_INTERRUPT_STATUS), interrupt::USED_BUFFER);
    assert_eq!(window.0.frontend().interrupt().irqfd().unwrap().read().unwrap(), 1);
    window.set(VIRTIO_MMIO_INTERRUPT_ACK, interrupt::USED_BUFFER);
    assert_eq!(window.get(VIRTIO_MMIO_INTERRUPT_STATUS), 0);

    // Features are fixed now.
    window.set(VIRTIO_MMIO_DRIVER_FEATURES, 0);
    assert_eq!(window.0.frontend().registers().driver_features, COMMON_FEATURES);

    window.set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    window.set(VIRTIO_MMIO_QUEUE_NOTIFY, 7);
    window.set(VIRTIO_MMIO_STATUS, 0);
    assert_eq!(*window.0.frontend().registers(), Registers::new(&[64]));
    driver.queues[0].add(&[buffer]);
    window.0.frontend().device().lock().unwrap().queue_notified(0);
    assert_eq!(driver.queues[0].take_used(), None);
}

/// As Linux removes a driver: the queues first, and then the reset.
#[test]
fn a_queue_that_is_taken_back_is_not_touched_again() {
    let (mut window, mut driver) = Window::new();
    let come_up = |window: &mut Window, driver: &MockDriver| {
        window.negotiate(COMMON_FEATURES);
        window.set_up_queue(64, driver.queues[0].addresses());
        window.set(VIRTIO_MMIO_STATUS, RUNNING);
    };
    come_up(&mut window, &driver);
    window.set(VIRTIO_MMIO_QUEUE_READY, 0);
    assert_eq!(window.get(VIRTIO_MMIO_QUEUE_READY), 0);
    let buffer = driver.writable(16);
    driver.queues[0].add(&[buffer]);
    let before = driver.memory.read_obj::<[u8; 32]>(GuestAddress(driver.queues[0].addresses()[2])).unwrap();
    window.0.frontend().device().lock().unwrap().queue_notified(0);
    let after = driver.memory.read_obj::<[u8; 32]>(GuestAddress(driver.queues[0].addresses()[2])).unwrap();
    assert_eq!(before, after, "its used ring");
    window.set(VIRTIO_MMIO_QUEUE_READY, 1);
    assert_eq!(window.get(VIRTIO_MMIO_QUEUE_READY), 0, "not before a reset");
    window.set(VIRTIO_MMIO_STATUS, 0);

    come_up(&mut window, &driver);
    window.0.frontend().device().lock().unwrap().queue_notified(0);
    assert_eq!(driver.queues[0].take_used(), Some((0, 16)), "the next driver is served");
}

#[test]
fn features_that_do_not_fit_are_refused() {
    let (mut window, _) = Window::new();
    for features in [0, COMMON_FEATURES & !(1 << VIRTIO_F_VERSION_1), COMMON_FEATURES | 1, u64::MAX] {
        window.negotiate(features);
        assert_eq!(window.status(), DRIVER, "{features:#x}");
        window.set(VIRTIO_MMIO_STATUS, RUNNING);
        assert_eq!(window.status(), DRIVER);
    }
    window.negotiate(1 << VIRTIO_F_VERSION_1);
    assert_eq!(window.status(), NEGOTIATED);
}

#[test]
fn steps_cannot_be_skipped_or_taken_back() {
    let (mut window, _) = Window::new();
    for early in [VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER_OK] {
        window.set(VIRTIO_MMIO_STATUS, early);
        assert_eq!(window.status(), 0);
    }
    window.negotiate(COMMON_FEATURES);
    window.set(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    assert_eq!(window.status(), NEGOTIATED);
    window.set(VIRTIO_MMIO_STATUS, NEGOTIATED | VIRTIO_CONFIG_S_FAILED);
    assert_eq!(window.status(), NEGOTIATED | VIRTIO_CONFIG_S_FAILED);
    window.set(VIRTIO_MMIO_STATUS, 0);
    assert_eq!(window.status(), 0);
}

#[test]
fn a_queue_that_cannot_be_asks_for_a_reset() {
    let good = MockDriver::new(&[64]).queues[0].addresses();
    let [descriptors, available, used] = good;
    let outside = MockDriver::RAM;
    for (size, addresses) in [
        (0, good),
        (63, good),
        (128, good),
        (65536 + 64, good),
        (64, [descriptors + 8, available, used]),
        (64, [descriptors, available + 1, used]),
        (64, [descriptors, available, used + 2]),
        (64, [outside, available, used]),
        (64, [descriptors, outside - 8, used]),
        (64, [descriptors, available, u64::MAX - 15]),
    ] {
        let (mut window, _driver) = Window::new();
        window.negotiate(COMMON_FEATURES);
        window.set_up_queue(size, addresses);
        window.set(VIRTIO_MMIO_STATUS, RUNNING);
        assert_eq!(window.status(), RUNNING | VIRTIO_CONFIG_S_NEEDS_RESET, "{size} {addresses:x?}");
        assert_eq!(window.get(VIRTIO_MMIO_INTERRUPT_STATUS), interrupt::CONFIGURATION);
        window.set(VIRTIO_MMIO_STATUS, 0);
        assert_eq!((window.status(), window.get(VIRTIO_MMIO_INTERRUPT_STATUS)), (0, 0));
    }
    let (mut window, _driver) = Window::new();
    window.negotiate(COMMON_FEATURES);
    window.set(VIRTIO_MMIO_STATUS, RUNNING);
    assert_ne!(window.status() & VIRTIO_CONFIG_S_NEEDS_RESET, 0, "no queue is ready");
}

#[test]
fn odd_accesses_do_nothing() {
    let (mut window, _) = Window::new();
    for length in [1, 2, 8] {
        let mut bytes = vec![0xee; length];
        window.0.read(0, &mut bytes);
        assert_eq!(bytes, vec![0; length]);
        window.0.write(u64::from(VIRTIO_MMIO_STATUS), &bytes);
    }
    let mut bytes = [0xee; 4];
    window.0.read(2, &mut bytes);
    assert_eq!(bytes, [0; 4]);
    window.0.write(u64::from(VIRTIO_MMIO_STATUS) + 1, &1_u32.to_le_bytes());
    window.0.read(WINDOW_SIZE - 4, &mut bytes);
    assert_eq!((window.status(), bytes), (0, [0; 4]));
    for register in (0..0x100).step_by(4) {
        window.set(register, u32::MAX);
        window.get(register);
    }
}

static WRITES: AtomicUsize = AtomicUsize::new(0);

struct Configurable;

impl VirtioDevice for Configurable {
    fn kind(&self) -> u32 {
        42
    }
    fn features(&self) -> u64 {
        COMMON_FEATURES
    }
    fn queue_sizes(&self) -> &[u16] {
        &[]
    }
    fn read_config(&self, offset: u64, data: &mut [u8]) {
        crate::virtio::read_config_bytes(&[1, 2, 3, 4, 5], offset, data);
    }
    fn write_config(&mut self, offset: u64, data: &[u8]) {
        assert_eq!((offset, data), (4, &[9][..]));
        WRITES.fetch_add(1, Ordering::Relaxed);
    }
    fn activate(&mut self, _: Activation) -> Result<(), Error> {
        Ok(())
    }
    fn queue_notified(&mut self, _: usize) {}
    fn reset(&mut self) {}
}

#[test]
fn configuration_space_is_the_devices() {
    let (mut window, _) = Window::with(Arc::new(Mutex::new(Configurable)), &[]);
    let mut word = [0; 4];
    window.0.read(CONFIG + 3, &mut word);
    assert_eq!(word, [4, 5, 0, 0]);
    window.0.read(CONFIG + 0xeff, &mut word[..1]);
    assert_eq!(word, [0, 5, 0, 0]);
    window.0.write(CONFIG + 4, &[9]);
    assert_eq!(WRITES.load(Ordering::Relaxed), 0, "before the driver is there");
    window.negotiate(COMMON_FEATURES);
    window.0.write(CONFIG + 4, &[9]);
    assert_eq!(WRITES.load(Ordering::Relaxed), 1);
    assert_eq!(window.get(VIRTIO_MMIO_CONFIG_GENERATION), 0);
    window.0.frontend().interrupt().configuration_changed();
    assert_eq!(window.get(VIRTIO_MMIO_CONFIG_GENERATION), 1);
}
