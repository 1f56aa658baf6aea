use std::fs::File;
use std::io::Write;

use vm_memory::Bytes;

use super::*;
use crate::virtio::block::disk::{Part, temporary_file};

const RAM: u64 = 1 << 20;

/// An image of 2 MiB that begins where the RAM ends, its file has two pages; and one more behind a hole.
fn memory() -> (DeviceMemory, File) {
    let mut file = temporary_file();
    file.write_all(&[[1; 4096], [2; 4096]].concat()).unwrap();
    let map = || {
        let part = Part { file: file.try_clone().unwrap(), length: 8192 };
        Arc::new(Mapping::shared(&[part]).unwrap())
    };
    let ram = GuestRam::from_ranges(&[(GuestAddress(0), RAM as usize)]).unwrap();
    (DeviceMemory::new(ram, vec![(RAM, map()), (RAM + (4 << 20), map())]).unwrap(), file)
}

fn readable(memory: &DeviceMemory, address: u64, length: u64) -> Option<Vec<u8>> {
    let mut buffers = Buffers::default();
    memory.append_readable(&mut buffers, address, length)?;
    let mut bytes = vec![0xee; length as usize];
    let count = buffers.copy_to(&mut bytes);
    bytes.truncate(count);
    Some(bytes)
}

#[test]
fn what_persistent_memory_shows_can_be_read_and_not_written() {
    let (memory, _) = memory();
    memory.write_slice(&[7; 2], GuestAddress(RAM - 2)).unwrap();
    assert_eq!(readable(&memory, RAM + 4094, 4).unwrap(), [1, 1, 2, 2]);
    assert_eq!(readable(&memory, RAM - 2, 4).unwrap(), [7, 7, 1, 1], "across the RAM's end");
    assert_eq!(readable(&memory, RAM + 8190, 4).unwrap(), [2, 2, 0, 0], "past the file's end");
    assert_eq!(readable(&memory, RAM + (4 << 20), 6000).unwrap(), [vec![1; 4096], vec![2; 1904]].concat());
    for (address, length) in [
        (RAM + (2 << 20), 1),
        (RAM + (2 << 20) - 1, 2),
        (RAM + (4 << 20) - 1, 2),
        (RAM + (6 << 20) - 1, 2),
        (u64::MAX, 1),
        (u64::MAX - 1, 8),
    ] {
        assert_eq!(readable(&memory, address, length), None, "{address:x}");
    }
    let mut buffers = Buffers::default();
    assert!(memory.append_writable(&mut buffers, RAM, 1).is_none());
    assert!(memory.append_writable(&mut buffers, RAM - 1, 2).is_none());
    assert!(memory.append_writable(&mut buffers, RAM - 1, 1).is_some());
}

#[test]
fn pages_that_are_gone_end_a_copy_and_not_the_process() {
    let (memory, file) = memory();
    file.set_len(4096).unwrap();
    assert!(readable(&memory, RAM + 100, 8000).unwrap().len() < 4096);
    assert_eq!(readable(&memory, RAM + 4096, 1).unwrap(), []);
    assert!(readable(&memory, RAM, 4096).unwrap() == [1; 4096], "what is there is served");
}
