//! Requests of an entropy driver.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use vmm::virtio::rng::Rng;
use vmm_fuzz::{Layout, Session};

#[derive(Arbitrary, Debug)]
enum Step {
    Request { layout: Layout, readable: u8, room: u32 },
    Memory { address: u16, bytes: [u8; 8] },
    Restart,
}

fuzz_target!(|input: (u64, Vec<Step>)| {
    let (features, steps) = input;
    let mut device = Rng::default();
    let mut session = Session::new(&mut device, features);
    for step in steps.iter().take(64) {
        match step {
            Step::Request { layout, readable, room } => {
                let room = (*room % (1 << 18)) as usize;
                let answer = session.request(0, layout, &vec![0; usize::from(*readable)], room);
                if let Some((used, bytes)) = answer {
                    assert_eq!(used as usize, room.min(64 << 10));
                    assert!(bytes[used as usize..].iter().all(|&byte| byte == 0xa5), "wrote beyond its word");
                }
            }
            Step::Memory { address, bytes } => session.write_memory(*address, bytes),
            Step::Restart => session.restart(),
        }
    }
});
