use std::fs::File;
use std::io::Write;

use super::*;
use crate::virtio::block::disk::temporary_file;

const MIB: u64 = 1 << 20;

fn part(length: u64, content: &[u8]) -> Part {
    let mut file: File = temporary_file();
    file.write_all(content).unwrap();
    Part { file, length }
}

fn bytes(mapping: &Mapping) -> &[u8] {
    // SAFETY: the mapping is readable as a whole, and its files do not change during a test.
    unsafe { std::slice::from_raw_parts(mapping.address(), mapping.size() as usize) }
}

#[test]
fn parts_follow_one_another_with_zeroes_between() {
    let parts = [part(8192, &[1; 5000]), part(4096, &[]), part(4096, &[2; 9000]), part(3 * MIB, &[3; 4096])];
    let mapping = Mapping::new(&parts).unwrap();
    assert_eq!(mapping.address() as u64 % ALIGNMENT, 0);
    assert_eq!(mapping.size(), 4 * MIB);
    drop(parts);
    let bytes = bytes(&mapping);
    assert_eq!(bytes[..5000], [1; 5000]);
    assert!(bytes[5000..12288].iter().all(|&byte| byte == 0));
    assert_eq!(bytes[12288..16384], [2; 4096]);
    assert_eq!(bytes[16384..20480], [3; 4096]);
    assert!(bytes[20480..].iter().all(|&byte| byte == 0), "to the very end, without a fault");
}

#[test]
fn sizes_are_rounded_to_huge_pages() {
    for (length, size) in [(0, 2), (4096, 2), (2 * MIB, 2), (2 * MIB + 4096, 4)] {
        assert_eq!(Mapping::new(&[part(length, b"x")]).unwrap().size(), size * MIB);
    }
}

#[test]
fn what_cannot_be_mapped_is_refused() {
    assert!(matches!(Mapping::new(&[]), Err(Error::Parts(disk::Error::Empty))));
    assert!(matches!(Mapping::new(&[part(100, b"")]), Err(Error::Parts(disk::Error::PartLength { .. }))));
    let huge = i64::MAX as u64 / 4096 * 4096;
    assert!(matches!(Mapping::new(&[part(huge, b"")]), Err(Error::Reserve { .. })));
    assert!(matches!(
        Mapping::new(&[part(huge, b""), part(4096, b"")]),
        Err(Error::Parts(disk::Error::TooLong))
    ));
    let null = File::open("/").unwrap();
    assert!(matches!(Mapping::new(&[Part { file: null, length: 4096 }]), Err(Error::Map { part: 0, .. })));
}

#[test]
fn mappings_leave_nothing_behind() {
    let name = format!("vmrun-mapping-test-{}", std::process::id());
    let path = std::env::temp_dir().join(&name);
    std::fs::write(&path, b"x").unwrap();
    let part = Part { file: File::open(&path).unwrap(), length: 4096 };
    std::fs::remove_file(path).unwrap();
    let mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().matches(&name).count();
    let mapping = Mapping::new(&[part]).unwrap();
    assert_eq!(mapped(), 1);
    drop(mapping);
    assert_eq!(mapped(), 0);
}
