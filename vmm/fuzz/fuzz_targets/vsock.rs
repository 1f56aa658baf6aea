//! The socket device between a guest and its clients, both of whom do anything.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use vmm::virtio::vsock::VsockDevice;
use vmm_fuzz::Session;
use vmm_fuzz::channel::{Address, CID, Step, World};

#[derive(Arbitrary, Debug)]
struct Input {
    features: u64,
    steps: Vec<Step>,
}

fuzz_target!(|input: Input| {
    let (address, listener) = Address::new();
    let mut device = VsockDevice::new(CID, listener).expect("device");
    let mut world = World::new(Session::new(&mut device, input.features), address);
    for step in input.steps.iter().take(128) {
        world.take(step);
    }
    world.finish();
});
