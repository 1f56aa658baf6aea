//! Requests of a pmem driver: the flush, everything else, and chains that cannot be.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use vmm::virtio::pmem::PmemDevice;
use vmm_fuzz::{Layout, Session};

#[derive(Arbitrary, Debug)]
enum Step {
    Flush { layout: Layout },
    Request { layout: Layout, readable: Vec<u8>, room: u8 },
    Memory { address: u16, bytes: [u8; 8] },
    Config { offset: u64, length: u8 },
    Restart,
}

fuzz_target!(|input: (u64, Vec<Step>)| {
    let (features, steps) = input;
    let mut device = PmemDevice::new(4 << 30, 2 << 20);
    let mut session = Session::new(&mut device, features);
    for step in steps.iter().take(64) {
        match step {
            Step::Flush { layout } => {
                if let Some(answer) = session.request(0, layout, &[0; 4], 4) {
                    assert_eq!(answer, (4, vec![0; 4]));
                }
            }
            Step::Request { layout, readable, room } => {
                if let Some((used, bytes)) = session.request(0, layout, readable, usize::from(*room)) {
                    assert_eq!(used, if *room < 4 { 0 } else { 4 });
                    let done = bytes.starts_with(&[0; 4]);
                    assert_eq!(done, *room >= 4 && readable.starts_with(&[0; 4]));
                }
            }
            Step::Memory { address, bytes } => session.write_memory(*address, bytes),
            Step::Config { offset, length } => {
                session.device.read_config(*offset, &mut vec![0; usize::from(*length)]);
            }
            Step::Restart => session.restart(),
        }
    }
});
