use super::*;
use crate::virtio::mock_driver::MockDriver;

#[test]
fn fills_what_it_is_given() {
    let mut rng = Rng::default();
    let mut driver = MockDriver::activate(&mut rng);
    let (length, filled) = driver.request(&mut rng, 0, &[], &[1000, 3, 1]);
    assert_eq!(length, 1004);
    assert!(filled[0].chunks(100).all(|part| part.iter().any(|&byte| byte != 0xa5)));
    let (_, again) = driver.request(&mut rng, 0, &[], &[1000]);
    assert_ne!(filled[0], again[0]);
}

#[test]
fn one_request_gets_a_bounded_answer() {
    let mut rng = Rng::default();
    let mut driver = MockDriver::activate(&mut rng);
    let (length, filled) = driver.request(&mut rng, 0, &[], &[BYTES_PER_REQUEST, 1]);
    assert_eq!((length as usize, filled[1][0]), (BYTES_PER_REQUEST, 0xa5));
}

#[test]
fn nothing_to_fill_is_nothing_written() {
    let mut rng = Rng::default();
    let mut driver = MockDriver::activate(&mut rng);
    assert_eq!(driver.request(&mut rng, 0, &[b"readable"], &[]).0, 0);
    assert_eq!(driver.request(&mut rng, 0, &[], &[0]).0, 0);
}
