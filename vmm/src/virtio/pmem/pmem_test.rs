use super::*;
use crate::virtio::mock_driver::MockDriver;

fn device() -> PmemDevice {
    PmemDevice::new(0x1_0000_0000, 0x40_0000)
}

#[test]
fn says_where_the_region_lies() {
    let mut config = [0; 20];
    device().read_config(0, &mut config);
    assert_eq!(config[..8], 0x1_0000_0000_u64.to_le_bytes());
    assert_eq!(config[8..16], 0x40_0000_u64.to_le_bytes());
    assert_eq!(config[16..], [0; 4]);
}

#[test]
fn flushes_succeed_and_others_do_not() {
    let mut pmem = device();
    let mut driver = MockDriver::activate(&mut pmem);
    assert_eq!(driver.request(&mut pmem, 0, &[&[0; 4]], &[4]), (4, vec![vec![0; 4]]));
    assert_eq!(driver.request(&mut pmem, 0, &[&[0, 0], &[0, 0]], &[1, 3]).0, 4);
    assert_eq!(driver.request(&mut pmem, 0, &[&[1, 0, 0, 0]], &[4]), (4, vec![vec![0xff; 4]]));
    assert_eq!(driver.request(&mut pmem, 0, &[&[0; 3]], &[4]), (4, vec![vec![0xff; 4]]));
    assert_eq!(driver.request(&mut pmem, 0, &[&[0; 4]], &[3]), (0, vec![vec![0xa5; 3]]));
    assert_eq!(driver.request(&mut pmem, 0, &[&[0; 4]], &[]).0, 0);
}

#[test]
fn a_reset_device_is_silent() {
    let mut pmem = device();
    let mut driver = MockDriver::activate(&mut pmem);
    pmem.reset();
    let buffer = driver.writable(4);
    driver.queues[0].add(&[buffer]);
    pmem.queue_notified(0);
    assert!(driver.queues[0].take_used().is_none());
}
