use super::*;
use crate::virtio::mock_driver::MockDriver;

const SIZE: u16 = 8;

fn ring(event_index: bool) -> (MockDriver, Ring) {
    let driver = MockDriver::new(&[SIZE]);
    let ring = Ring::new(driver.queues[0].active(event_index), driver.interrupt.clone());
    (driver, ring)
}

fn serve(ring: &mut Ring, driver: &MockDriver) -> usize {
    let mut served = 0;
    ring.serve_all(&driver.memory, |chain| {
        served += 1;
        chain.writable.len() as u32
    });
    served
}

#[test]
fn chains_come_in_order_and_go_back() {
    let (mut driver, mut ring) = ring(true);
    for length in [1, 2, 3] {
        let buffer = driver.writable(length);
        driver.queues[0].add(&[buffer]);
    }
    assert_eq!(serve(&mut ring, &driver), 3);
    let used: Vec<_> = std::iter::from_fn(|| driver.queues[0].take_used()).collect();
    assert_eq!(used, [(0, 1), (1, 2), (2, 3)]);
    assert_eq!(driver.interrupt.irqfd().unwrap().read().unwrap(), 1, "one interrupt for all");
    assert_eq!(serve(&mut ring, &driver), 0);
    assert!(driver.interrupt.irqfd().unwrap().read().is_err(), "no interrupt for nothing");
}

#[test]
fn a_driver_is_interrupted_when_it_asked_for_it() {
    let (mut driver, mut ring) = ring(true);
    driver.queues[0].set_used_event(1);
    let buffer = driver.writable(1);
    driver.queues[0].add(&[buffer]);
    serve(&mut ring, &driver);
    assert!(driver.interrupt.irqfd().unwrap().read().is_err());
    driver.queues[0].add(&[buffer]);
    serve(&mut ring, &driver);
    assert_eq!(driver.interrupt.irqfd().unwrap().read().unwrap(), 1);
}

#[test]
fn a_chain_can_be_put_back() {
    let (mut driver, mut ring) = ring(false);
    let buffer = driver.writable(1);
    driver.queues[0].add(&[buffer]);
    assert_eq!(ring.pop(&driver.memory).unwrap().head, 0);
    assert!(ring.pop(&driver.memory).is_none());
    ring.put_back();
    assert_eq!(ring.pop(&driver.memory).unwrap().head, 0);
}

#[test]
fn a_driver_that_keeps_adding_is_continued_later() {
    let (mut driver, mut ring) = ring(true);
    let buffer = driver.writable(1);
    for _ in 0..SIZE {
        driver.queues[0].add(&[buffer]);
    }
    let memory = driver.memory.clone();
    let queue = &mut driver.queues[0];
    let mut served = 0;
    ring.serve_all(&memory, |_| {
        served += 1;
        queue.add(&[buffer]);
        0
    });
    assert_eq!(served, SIZE);
    assert_eq!(driver.queues[0].kick.read().unwrap(), 1);
}

#[test]
fn large_chains_end_a_turn() {
    let (mut driver, mut ring) = ring(true);
    let buffer = crate::virtio::mock_driver::Buffer { address: 0, length: 15 << 20, writable: false };
    for _ in 0..SIZE {
        driver.queues[0].add(&[buffer]);
    }
    assert_eq!(serve(&mut ring, &driver), 3);
    assert_eq!(driver.queues[0].kick.read().unwrap(), 1);
    assert_eq!(serve(&mut ring, &driver), 3);
}

#[test]
fn an_impossible_index_breaks_the_ring() {
    let (mut driver, mut ring) = ring(true);
    driver.queues[0].set_available_index(SIZE + 1);
    assert_eq!(serve(&mut ring, &driver), 0);
    assert!(driver.interrupt.reset_needed());
    driver.queues[0].set_available_index(0);
    let buffer = driver.writable(1);
    driver.queues[0].add(&[buffer]);
    assert_eq!(serve(&mut ring, &driver), 0, "until it is reset");
}

#[test]
fn a_head_outside_of_the_table_breaks_the_ring() {
    let (mut driver, mut ring) = ring(false);
    driver.queues[0].make_available(SIZE);
    assert_eq!(serve(&mut ring, &driver), 1, "as an empty chain");
    assert!(driver.interrupt.reset_needed());
    assert!(driver.queues[0].take_used().is_none());
}

#[test]
fn indices_wrap_around() {
    let (mut driver, mut ring) = ring(true);
    let buffer = driver.writable(3);
    for _ in 0..70_000 {
        let head = driver.queues[0].add(&[buffer]);
        assert_eq!(ring.pop(&driver.memory).unwrap().head, head);
        ring.put_back();
        assert_eq!(serve(&mut ring, &driver), 1);
        assert_eq!(driver.queues[0].take_used(), Some((u32::from(head), 3)));
        assert_eq!(driver.interrupt.irqfd().unwrap().read().unwrap(), 1);
    }
}
