use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn temporary_path() -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("vmrun-disk-test-{}-{number}", std::process::id()))
}

/// A file that is gone with its last descriptor.
pub fn temporary_file() -> File {
    let path = temporary_path();
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

#[test]
fn parts_are_checked() {
    let part = |length| Part { file: temporary_file(), length };
    assert!(matches!(Disk::read_only(vec![]), Err(Error::Empty)));
    assert!(matches!(
        Disk::read_only(vec![part(4096), part(512)]),
        Err(Error::PartLength { part: 1, length: 512 })
    ));
    let huge = i64::MAX as u64 / 4096 * 4096;
    assert!(matches!(Disk::read_only(vec![part(huge), part(4096)]), Err(Error::TooLong)));
    assert_eq!(Disk::read_only(vec![part(4096), part(8192)]).unwrap().length(), 12288);
    assert!(Disk::writable(part(4096)).unwrap().is_writable());
}

#[test]
fn a_file_is_written_to_by_one_disk_at_a_time() {
    let path = temporary_path();
    let open = || {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        Part { file: file.unwrap(), length: 4096 }
    };
    let first = Disk::writable(open()).unwrap();
    assert!(matches!(Disk::writable(open()), Err(Error::Held)));
    drop(first);
    assert!(Disk::writable(open()).is_ok());
    std::fs::remove_file(path).unwrap();
}
