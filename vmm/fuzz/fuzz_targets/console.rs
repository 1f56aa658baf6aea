//! The console device, whose port carries the packets of a socket device: a guest that may open and close the port, or
//! say anything on the control queues, and its clients.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use vmm::virtio::console::ConsoleDevice;
use vmm::virtio::mock_driver::{Buffer, MockDriver, WRITE};
use vmm_fuzz::channel::{self, Address, CID, World};
use vmm_fuzz::{Layout, Session};

const CONTROL_RECEIVE: usize = 2;
const CONTROL_TRANSMIT: usize = 3;
/// Where the guest keeps buffers for control messages: beyond the heap and the receive queue's.
const CONTROL_BUFFERS: u64 = MockDriver::RAM / 2 + (2 << 20);
const CONTROL_ROOM: u32 = 64;
const CONTROL_SIZE: usize = 32;

/// Events (virtio 1.2, section 5.3.6.2).
const DEVICE_READY: u16 = 0;
const PORT_ADD: u16 = 1;
const PORT_READY: u16 = 3;
const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;

#[derive(Arbitrary, Debug)]
struct Input {
    features: u64,
    begins_closed: bool,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Channel(channel::Step),
    ChannelToo(channel::Step),
    AndAgain(channel::Step),
    Open,
    Close,
    Control { port: u8, event: u8, value: u8, layout: Layout },
    RawControl { message: Vec<u8>, layout: Layout },
    GiveControl { count: u8, length: Option<u8> },
    TakeControl,
}

struct Guest<'d> {
    world: World<'d>,
    /// The guest has its end of the port open, as far as a right guest can know.
    open: bool,
    given: usize,
    lengths: [u32; CONTROL_SIZE],
}

fuzz_target!(|input: Input| {
    let (address, listener) = Address::new();
    let mut device = ConsoleDevice::new(CID, listener).expect("device");
    let world = World::new(Session::new(&mut device, input.features), address);
    let mut guest = Guest { world, open: false, given: 0, lengths: [CONTROL_ROOM; CONTROL_SIZE] };
    if !input.begins_closed {
        guest.take(&Step::GiveControl { count: 16, length: None });
        guest.take(&Step::Open);
        guest.take(&Step::TakeControl);
    }
    for step in input.steps.iter().take(128) {
        guest.take(step);
        if guest.world.trusted && !guest.open {
            let used = guest.world.session.driver.queues[0].take_used();
            assert_eq!(used, None, "a packet for a port that nobody has open");
        }
    }
    guest.world.finish();
});

impl Guest<'_> {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Channel(step) | Step::ChannelToo(step) | Step::AndAgain(step) => self.world.take(step),
            Step::Open => {
                for event in [DEVICE_READY, PORT_READY, PORT_OPEN] {
                    self.control(0, event, 1, &Layout::default());
                }
            }
            Step::Close => self.control(0, PORT_OPEN, 0, &Layout::default()),
            Step::Control { port, event, value, layout } => {
                self.control(u32::from(port / 64), u16::from(event % 10), u16::from(value % 3), layout);
            }
            Step::RawControl { message, layout } => {
                self.world.trusted = false;
                self.world.session.request(CONTROL_TRANSMIT, layout, message, 0);
            }
            Step::GiveControl { count, length } => self.give_control(*count, length.map(u32::from)),
            Step::TakeControl => self.take_control(),
        }
        if self.world.notice_restart() || !self.world.trusted {
            (self.open, self.given) = (false, 0);
        }
    }

    fn control(&mut self, port: u32, event: u16, value: u16, layout: &Layout) {
        // What came before belongs to connections that may end here.
        self.world.take_packets();
        self.world.trusted &= layout.is_flawless();
        let message = [&port.to_le_bytes()[..], &event.to_le_bytes(), &value.to_le_bytes()].concat();
        self.world.session.request(CONTROL_TRANSMIT, layout, &message, 0);
        if (port, event) == (0, PORT_OPEN) {
            self.open = value == 1;
            if !self.open {
                self.world.forget_connections();
            }
        }
    }

    fn give_control(&mut self, count: u8, length: Option<u32>) {
        for _ in 0..count % 32 {
            if self.given >= CONTROL_SIZE {
                break;
            }
            let (slot, length) = (self.given, length.unwrap_or(CONTROL_ROOM).min(CONTROL_ROOM));
            let address = CONTROL_BUFFERS + slot as u64 * u64::from(CONTROL_ROOM);
            self.lengths[slot] = length;
            let queue = &mut self.world.session.driver.queues[CONTROL_RECEIVE];
            queue.write_descriptor(slot as u16, address, length, WRITE, 0);
            queue.make_available(slot as u16);
            self.given += 1;
        }
        self.world.session.device.queue_notified(CONTROL_RECEIVE);
    }

    /// What the device says is about its one port, and makes sense.
    fn take_control(&mut self) {
        let driver = &mut self.world.session.driver;
        while let Some((slot, length)) = driver.queues[CONTROL_RECEIVE].take_used() {
            let slot = slot as usize % CONTROL_SIZE;
            let address = CONTROL_BUFFERS + slot as u64 * u64::from(CONTROL_ROOM);
            if !self.world.trusted {
                continue;
            }
            assert!(length <= self.lengths[slot]);
            let message = driver.read(Buffer { address, length, writable: true });
            let Some((head, rest)) = message.split_first_chunk::<8>() else { continue };
            let said = (u16::from_le_bytes([head[4], head[5]]), u16::from_le_bytes([head[6], head[7]]));
            assert_eq!(head[..4], [0; 4], "another port");
            assert!(matches!(said, (PORT_ADD | PORT_OPEN | PORT_NAME, 1)), "{said:?}");
            assert!(b"channel".starts_with(rest) && (rest.is_empty() || said.0 == PORT_NAME), "{rest:?}");
        }
        self.given = if self.given >= CONTROL_SIZE { 0 } else { self.given };
    }
}
