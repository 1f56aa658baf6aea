//! Reports and page numbers of a balloon driver: what is given back is zeroes, and everything else is as it was.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use vm_memory::{Bytes, GuestAddress};
use vmm::virtio::balloon::Balloon;
use vmm::virtio::mock_driver::Buffer;
use vmm_fuzz::{Layout, Session};

const PAGE: u64 = 4096;
/// Where the pages are that are watched: behind the queues and the heap.
const WATCHED: u64 = 8 << 20;
const PAGES: u64 = 64;

#[derive(Arbitrary, Debug)]
struct Input {
    features: u64,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Report { fifth: bool, ranges: Vec<(u32, u32)> },
    Pages { layout: Layout, inflate: bool, pages: Vec<u32> },
    Raw { queue: u8, layout: Layout, readable: Vec<u8>, room: u16 },
    Memory { address: u16, bytes: [u8; 8] },
    Config { offset: u64, bytes: [u8; 4] },
    Restart,
}

fuzz_target!(|input: Input| {
    let mut balloon = Balloon::default();
    let mut session = Session::new(&mut balloon, input.features);
    for step in input.steps.iter().take(64) {
        match step {
            Step::Report { fifth, ranges } => report(&mut session, *fifth, ranges),
            Step::Pages { layout, inflate, pages } => {
                let bytes: Vec<u8> = pages.iter().flat_map(|page| page.to_le_bytes()).collect();
                session.request(if *inflate { 0 } else { 1 }, layout, &bytes, 0);
            }
            Step::Raw { queue, layout, readable, room } => {
                session.request(usize::from(*queue % 5), layout, readable, (*room).into());
            }
            Step::Memory { address, bytes } => session.write_memory(*address, bytes),
            Step::Config { offset, bytes } => {
                let offset = offset % 32;
                session.device.write_config(offset, bytes);
                session.device.read_config(offset, &mut [0; 40]);
            }
            Step::Restart => session.restart(),
        }
    }
});

/// One honest report, on a device that has just been set up: exactly the whole pages in it come back as zeroes.
fn report(session: &mut Session, fifth: bool, ranges: &[(u32, u32)]) {
    session.restart();
    let memory = session.driver.memory.clone();
    memory.write_slice(&vec![7; (PAGES * PAGE) as usize], GuestAddress(WATCHED)).expect("guest memory");
    let ranges: Vec<Buffer> = ranges
        .iter()
        .take(32)
        .map(|(start, length)| {
            let start = u64::from(*start) % (PAGES * PAGE);
            let length = (u64::from(*length) % (8 * PAGE)).min(PAGES * PAGE - start);
            Buffer { address: WATCHED + start, length: length as u32, writable: true }
        })
        .filter(|range| range.length > 0)
        .collect();
    if ranges.is_empty() {
        return;
    }
    let queue = if fifth { 4 } else { 2 };
    session.driver.queues[queue].add(&ranges);
    session.device.queue_notified(queue);
    assert!(session.driver.queues[queue].take_used().is_some(), "a report was not returned");
    let mut content = vec![0; (PAGES * PAGE) as usize];
    memory.read_slice(&mut content, GuestAddress(WATCHED)).expect("guest memory");
    for (page, bytes) in (0..).map(|page| WATCHED + page * PAGE).zip(content.chunks(PAGE as usize)) {
        let given =
            |range: &Buffer| range.address <= page && page + PAGE <= range.address + u64::from(range.length);
        let expected = if ranges.iter().any(given) { 0 } else { 7 };
        assert!(bytes.iter().all(|byte| *byte == expected), "page {page:#x} is not all {expected}");
    }
}
