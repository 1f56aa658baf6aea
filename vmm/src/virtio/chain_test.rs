use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress, GuestMemory, Permissions};

use super::*;
use crate::virtio::mock_driver::{Buffer, INDIRECT, MockDriver, NEXT, WRITE, descriptor};
use crate::virtio::ring::Ring;

/// What a device gets of the one chain that `build` makes available: bytes to read, bytes to write.
fn lengths(build: impl FnOnce(&mut MockDriver)) -> (usize, usize) {
    let mut driver = MockDriver::new(&[8]);
    build(&mut driver);
    let mut ring = Ring::new(driver.queues[0].active(true), driver.interrupt.clone());
    let memory = driver.memory.clone();
    let chain = ring.pop(&memory).unwrap();
    (chain.readable.len(), chain.writable.len())
}

fn buffer(address: u64, length: u32, writable: bool) -> Buffer {
    Buffer { address, length, writable }
}

#[test]
fn buffers_are_told_apart() {
    let chain = [buffer(0x9000, 16, false), buffer(0xa000, 0, false), buffer(0xb000, 8, true)];
    assert_eq!(lengths(|driver| _ = driver.queues[0].add(&chain)), (16, 8));
}

#[test]
fn rule_breakers_come_out_empty() {
    let whole = MockDriver::RAM;
    let broken: [&[Buffer]; 6] = [
        &[buffer(whole, 1, true)],
        &[buffer(whole - 1, 2, false)],
        &[buffer(u64::MAX, 1, true)],
        &[buffer(u64::MAX - 3, 8, true)],
        &[buffer(0, u32::MAX, true)],
        &[buffer(0x9000, 1, true), buffer(0x9000, 1, false)],
    ];
    for chain in broken {
        assert_eq!(lengths(|driver| _ = driver.queues[0].add(chain)), (0, 0), "{chain:x?}");
    }
}

#[test]
fn broken_links_come_out_empty() {
    let linked = |next: u16| {
        lengths(|driver| {
            driver.queues[0].write_descriptor(0, 0x9000, 4, NEXT, next);
            driver.queues[0].make_available(0);
        })
    };
    assert_eq!(linked(8), (0, 0));
    assert_eq!(linked(u16::MAX), (0, 0));
    assert_eq!(linked(0), (0, 0), "a loop");
}

#[test]
fn more_than_four_gibibytes_come_out_empty() {
    let chain = [buffer(0, MockDriver::RAM as u32, true); 8];
    assert_eq!(lengths(|driver| _ = driver.queues[0].add(&chain)), (0, 8 * MockDriver::RAM as usize));
    let overflow = lengths(|driver| {
        let table: Vec<u8> = (1..=257).flat_map(|next| descriptor(0, 16 << 20, WRITE | NEXT, next)).collect();
        add_indirect(driver, &table, table.len() as u32, 0);
    });
    assert_eq!(overflow, (0, 0));
}

fn add_indirect(driver: &mut MockDriver, table: &[u8], length: u32, flags: u16) {
    let address = driver.allocate(table.len());
    driver.memory.write_slice(table, GuestAddress(address)).unwrap();
    driver.queues[0].write_descriptor(0, address, length, INDIRECT | flags, 0);
    driver.queues[0].make_available(0);
}

#[test]
fn indirect_tables() {
    let table = [descriptor(0x9000, 16, NEXT, 1), descriptor(0x9100, 7, WRITE, 0)].concat();
    let used = |length: u32, flags: u16| lengths(|driver| add_indirect(driver, &table, length, flags));
    assert_eq!(used(32, 0), (16, 7));
    assert_eq!(used(31, 0), (0, 0), "not whole descriptors");
    assert_eq!(used(0, 0), (0, 0));
    assert_eq!(used(16, 0), (0, 0), "its link points out of it");
    let nested = descriptor(0x9000, 16, INDIRECT, 0);
    assert_eq!(lengths(|driver| add_indirect(driver, &nested, 16, 0)), (0, 0));
    let outside = |driver: &mut MockDriver| {
        driver.queues[0].write_descriptor(0, MockDriver::RAM - 8, 16, INDIRECT, 0);
        driver.queues[0].make_available(0);
    };
    assert_eq!(lengths(outside), (0, 0));
}

#[test]
fn a_chain_has_at_most_as_many_buffers_as_one_system_call_takes() {
    let count = |count: u16| {
        let link = |at: u16| descriptor(0x9000, 1, if at == count { WRITE } else { WRITE | NEXT }, at);
        let table: Vec<u8> = (1..=count).flat_map(link).collect();
        lengths(|driver| add_indirect(driver, &table, table.len() as u32, 0))
    };
    assert_eq!(count(MAX_SLICES as u16), (0, MAX_SLICES));
    assert_eq!(count(MAX_SLICES as u16 + 1), (0, 0));
    assert_eq!(count(65535), (0, 0));
}

fn with_buffers(check: impl FnOnce(Buffers)) {
    let memory = Arc::new(GuestRam::from_ranges(&[(GuestAddress(0), 0x10000)]).unwrap());
    memory.write_slice(&[0xa5; 0x10000], GuestAddress(0)).unwrap();
    let mut buffers = Buffers::default();
    for (address, length) in [(0, 3), (0x100, 5000), (0x8000, 2)] {
        for slice in memory.get_slices(GuestAddress(address), length, Permissions::Write).unwrap() {
            buffers.push(slice.unwrap());
        }
    }
    check(buffers);
}

#[test]
fn bytes_are_copied_across_pieces() {
    with_buffers(|buffers| {
        let bytes: Vec<u8> = (0..buffers.len()).map(|at| at as u8).collect();
        assert_eq!(buffers.copy_from(&bytes), 5005);
        let mut back = vec![0xee; 6000];
        assert_eq!(buffers.copy_to(&mut back), 5005);
        assert_eq!(back[..5005], bytes);
        assert_eq!(back[5005..], [0xee; 995]);
        assert_eq!(buffers.copy_from(&[9]), 1);
        assert_eq!(buffers.read_array(), Some([9, 1, 2, 3]));
        assert_eq!(buffers.first(4).len(), 4);
        assert_eq!(buffers.first(9999).len(), 5005);
        assert_eq!(buffers.first(2).read_array::<4>(), None);
    });
}

#[test]
fn pieces_are_split_anywhere() {
    with_buffers(|buffers| {
        let bytes: Vec<u8> = (0..buffers.len()).map(|at| (at / 7) as u8).collect();
        buffers.copy_from(&bytes);
        for at in [0, 1, 3, 4, 2000, 5003, 5004, 5005] {
            let (first, rest) = buffers.split_at(at).unwrap();
            assert_eq!((first.len(), rest.len()), (at, 5005 - at));
            let mut both = vec![0; 5005];
            assert_eq!(first.copy_to(&mut both), at);
            assert_eq!(rest.copy_to(&mut both[at..]), 5005 - at);
            assert_eq!(both, bytes);
        }
        assert!(buffers.split_at(5006).is_none());
        let (_, rest) = buffers.split_at(4).unwrap();
        rest.fill_with_zeroes();
        let mut zeroed = vec![1; 5005];
        buffers.copy_to(&mut zeroed);
        assert_eq!(zeroed[..4], bytes[..4]);
        assert!(zeroed[4..].iter().all(|&byte| byte == 0));
    });
}
