use vm_memory::{Bytes, GuestAddress, GuestMemory, Permissions};

use super::*;
use crate::virtio::mock_driver::{Buffer, MockDriver};

/// The index of the queue of reports, before and since Linux 6.11.
const REPORTS: [usize; 2] = [2, 4];
const BLOCK: u64 = 2 << 20;

fn balloon() -> (Balloon, MockDriver) {
    let mut balloon = Balloon::default();
    let driver = MockDriver::activate(&mut balloon);
    driver.memory.write_slice(&vec![7; (MockDriver::RAM - BLOCK) as usize], GuestAddress(BLOCK)).unwrap();
    (balloon, driver)
}

fn report(balloon: &mut Balloon, driver: &mut MockDriver, queue: usize, ranges: &[(u64, u32)]) {
    let free = |&(address, length): &(u64, u32)| Buffer { address, length, writable: true };
    driver.queues[queue].add(&ranges.iter().map(free).collect::<Vec<_>>());
    balloon.queue_notified(queue);
    assert_eq!(driver.queues[queue].take_used().map(|(_, written)| written), Some(0));
}

/// Whether the whole page is zeroes, or, if not, all of it as it was.
fn is_empty(driver: &MockDriver, address: u64) -> bool {
    let mut page = [0; PAGE as usize];
    driver.memory.read_slice(&mut page, GuestAddress(address)).unwrap();
    assert!(page == [0; PAGE as usize] || page == [7; PAGE as usize]);
    page[0] == 0
}

#[test]
fn reported_memory_goes_back_and_no_other() {
    for queue in REPORTS {
        let (mut balloon, mut driver) = balloon();
        report(&mut balloon, &mut driver, queue, &[(2 * BLOCK, BLOCK as u32), (4 * BLOCK, BLOCK as u32)]);
        let empty = (1..8).filter(|block| is_empty(&driver, block * BLOCK)).collect::<Vec<_>>();
        assert_eq!(empty, [2, 4]);
        assert!(!is_empty(&driver, 2 * BLOCK - PAGE) && is_empty(&driver, 3 * BLOCK - PAGE));
        driver.memory.write_obj(1u8, GuestAddress(2 * BLOCK)).unwrap();
        assert_eq!(driver.memory.read_obj::<u8>(GuestAddress(2 * BLOCK)).unwrap(), 1, "it can be used again");
    }
}

/// Resident bytes of a range of the mock driver's memory, in pages.
fn resident(driver: &MockDriver, address: u64, length: u64) -> usize {
    let slice = driver.memory.get_slices(GuestAddress(address), length as usize, Permissions::Read);
    let slice = slice.unwrap().next().unwrap().unwrap();
    let mut pages = vec![0u8; (length / PAGE) as usize];
    // SAFETY: mincore writes a byte a page, and there are as many.
    let done =
        unsafe { libc::mincore(slice.ptr_guard_mut().as_ptr().cast(), length as usize, pages.as_mut_ptr()) };
    assert_eq!(done, 0);
    pages.iter().filter(|page| **page & 1 == 1).count()
}

#[test]
fn the_host_has_the_memory_again() {
    let (mut balloon, mut driver) = balloon();
    assert_eq!(resident(&driver, 2 * BLOCK, BLOCK), 512);
    report(&mut balloon, &mut driver, 2, &[(2 * BLOCK, BLOCK as u32)]);
    assert_eq!(resident(&driver, 2 * BLOCK, BLOCK), 0);
}

#[test]
fn parts_of_pages_stay() {
    let (mut balloon, mut driver) = balloon();
    let page = |number: u64| BLOCK + number * PAGE;
    report(
        &mut balloon,
        &mut driver,
        2,
        &[(page(1) + 1, 3 * PAGE as u32), (page(8), 4095), (page(9) + 4095, 1)],
    );
    let empty: Vec<_> = (0..12).filter(|number| is_empty(&driver, page(*number))).collect();
    assert_eq!(empty, [2, 3]);
}

#[test]
fn ranges_outside_of_memory_are_nothing() {
    let (mut balloon, mut driver) = balloon();
    for range in
        [(MockDriver::RAM, BLOCK as u32), (MockDriver::RAM - PAGE, BLOCK as u32), (u64::MAX - 5, 4096)]
    {
        report(&mut balloon, &mut driver, 2, &[(2 * BLOCK, BLOCK as u32), range]);
    }
    assert!(!is_empty(&driver, 2 * BLOCK), "of a broken request, nothing is done");
    assert!(!is_empty(&driver, MockDriver::RAM - PAGE));
}

#[test]
fn a_guest_that_looks_into_free_pages_keeps_them() {
    let (mut balloon, mut driver) = balloon();
    balloon.write_config(12, &0xaaaa_aaaa_u32.to_le_bytes());
    report(&mut balloon, &mut driver, 2, &[(2 * BLOCK, BLOCK as u32)]);
    assert!(!is_empty(&driver, 2 * BLOCK));
    balloon.write_config(12, &[0; 4]);
    report(&mut balloon, &mut driver, 2, &[(2 * BLOCK, BLOCK as u32)]);
    assert!(is_empty(&driver, 2 * BLOCK));
}

#[test]
fn inflated_pages_stay_and_are_answered() {
    let (mut balloon, mut driver) = balloon();
    let numbers: Vec<u8> = (512_u32..1024).flat_map(u32::to_le_bytes).collect();
    for queue in [INFLATE, DEFLATE] {
        driver.request(&mut balloon, queue, &[&numbers, &[1, 2]], &[]);
    }
    assert!((512..1024).all(|page| !is_empty(&driver, page * PAGE)));
}

#[test]
fn the_target_is_nothing_and_the_driver_says_what_it_has() {
    let (mut balloon, _) = balloon();
    balloon.write_config(0, &[0xff; 20]);
    balloon.write_config(u64::MAX, &[0xff; 4]);
    let mut config = [1; 20];
    balloon.read_config(0, &mut config);
    assert_eq!(config[..4], [0; 4], "num_pages");
    assert_eq!(config[4..8], [0xff; 4], "actual");
    assert_eq!(config[8..12], [0; 4]);
    assert_eq!(config[16..], [0; 4]);
    balloon.reset();
    balloon.read_config(0, &mut config);
    assert_eq!(config, [0; 20]);
}

#[test]
fn a_reset_balloon_does_nothing() {
    let (mut balloon, mut driver) = balloon();
    balloon.reset();
    driver.queues[2].add(&[Buffer { address: 2 * BLOCK, length: BLOCK as u32, writable: true }]);
    balloon.queue_notified(2);
    assert_eq!(driver.queues[2].take_used(), None);
}
