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
    let mapping = Mapping::shared(&parts).unwrap();
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
        assert_eq!(Mapping::shared(&[part(length, b"x")]).unwrap().size(), size * MIB);
    }
}

#[test]
fn what_cannot_be_mapped_is_refused() {
    assert!(matches!(Mapping::shared(&[]), Err(Error::Parts(disk::Error::Empty))));
    assert!(matches!(Mapping::shared(&[part(100, b"")]), Err(Error::Parts(disk::Error::PartLength { .. }))));
    let huge = i64::MAX as u64 / 4096 * 4096;
    assert!(matches!(Mapping::shared(&[part(huge, b"")]), Err(Error::Reserve { .. })));
    assert!(matches!(
        Mapping::shared(&[part(huge, b""), part(4096, b"")]),
        Err(Error::Parts(disk::Error::TooLong))
    ));
    let null = File::open("/").unwrap();
    assert!(matches!(Mapping::shared(&[Part { file: null, length: 4096 }]), Err(Error::Map { part: 0, .. })));
}

#[test]
fn mappings_leave_nothing_behind() {
    let name = format!("vmrun-mapping-test-{}", std::process::id());
    let path = std::env::temp_dir().join(&name);
    std::fs::write(&path, b"x").unwrap();
    let part = Part { file: File::open(&path).unwrap(), length: 4096 };
    std::fs::remove_file(path).unwrap();
    let mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().matches(&name).count();
    let mapping = Mapping::shared(&[part]).unwrap();
    assert_eq!(mapped(), 1);
    drop(mapping);
    assert_eq!(mapped(), 0);
}

#[test]
fn a_private_copy_shows_the_same_and_takes_no_memory_for_zeroes() {
    let mut sparse: File = temporary_file();
    sparse.write_all(&[7; 4096]).unwrap();
    sparse.set_len(8 * MIB).unwrap();
    let large: Vec<u8> = (0..5 * MIB + 100).map(|at| (at / 4096 % 255) as u8).collect();
    let parts = [
        part(8192, &[1; 5000]),
        Part { file: sparse, length: 8 * MIB },
        part(4 * MIB, &vec![0; 3 << 20]),
        part(6 * MIB, &large),
        part(4096, &[2; 9000]),
    ];
    let (shared, copy) = (Mapping::shared(&parts).unwrap(), PrivateCopy::new(&parts).unwrap());
    assert_eq!(copy.as_ptr() as u64 % ALIGNMENT, 0);
    assert!(copy[..] == *bytes(&shared));
    let mapping = PrivateCopy::new(&parts).unwrap().into_mapping();
    let resident = resident(mapping.address(), mapping.size());
    // Of the fourth part, every 255th page is zero.
    let pages = 2 + 1 + (large.len() as u64).div_ceil(4096) + 1;
    assert!((pages - 10..=pages).contains(&resident), "{resident} pages of {pages}");
}

#[test]
fn a_private_copy_does_not_follow_its_files() {
    let written = part(4096, b"before");
    let copy = PrivateCopy::new(std::slice::from_ref(&written)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&written.file, b"after!", 0).unwrap();
    written.file.set_len(0).unwrap();
    assert_eq!(copy[..6], *b"before");
}

/// Pages of the range that take memory.
fn resident(address: *const u8, size: u64) -> u64 {
    let pagemap = File::open("/proc/self/pagemap").unwrap();
    let mut entries = vec![0; size as usize / 4096 * 8];
    std::os::unix::fs::FileExt::read_exact_at(&pagemap, &mut entries, address as u64 / 4096 * 8).unwrap();
    // Bit 63: the page is present.
    entries.chunks(8).filter(|entry| entry[7] & 0x80 != 0).count() as u64
}
