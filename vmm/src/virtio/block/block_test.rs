use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use super::disk::{Part, temporary_file};
use super::*;
use crate::virtio::mock_driver::{Buffer, MockDriver};
use crate::virtio::pmem::mapping::{Mapping, PrivateCopy};

const OK: u8 = VIRTIO_BLK_S_OK as u8;
const IO_ERROR: u8 = VIRTIO_BLK_S_IOERR as u8;
const UNSUPPORTED: u8 = VIRTIO_BLK_S_UNSUPP as u8;

struct Machine {
    device: BlockDevice,
    driver: MockDriver,
}

impl Machine {
    fn new(disk: Disk) -> Self {
        let mut device = BlockDevice::new(disk, "a-disk-of-which-the-name-is-long");
        let driver = MockDriver::activate(&mut device);
        Self { device, driver }
    }

    /// The request's status, the used length and the data read.
    fn request(&mut self, kind: u32, sector: u64, data: &[u8], room: &[usize]) -> (u8, u32, Vec<u8>) {
        let mut header = [kind.to_le_bytes(), [0; 4]].concat();
        header.extend(sector.to_le_bytes());
        let mut writable = room.to_vec();
        writable.push(1);
        let readable: &[&[u8]] = if data.is_empty() { &[&header] } else { &[&header, data] };
        let (used, mut written) = self.driver.request(&mut self.device, 0, readable, &writable);
        self.driver.free_all();
        let status = written.pop().unwrap()[0];
        (status, used, written.concat())
    }

    fn read(&mut self, sector: u64, length: usize) -> (u8, Vec<u8>) {
        let (status, used, data) = self.request(VIRTIO_BLK_T_IN, sector, &[], &[length]);
        assert_eq!(used as usize, if status == OK { length + 1 } else { 1 });
        (status, data)
    }

    fn write(&mut self, sector: u64, data: &[u8]) -> u8 {
        self.request(VIRTIO_BLK_T_OUT, sector, data, &[]).0
    }

    fn erase(&mut self, kind: u32, sector: u64, sectors: u32, flags: u32) -> u8 {
        let mut range = sector.to_le_bytes().to_vec();
        range.extend(sectors.to_le_bytes());
        range.extend(flags.to_le_bytes());
        self.request(kind, 0, &range, &[]).0
    }
}

fn part(length: u64, content: &[u8]) -> Part {
    let mut file = temporary_file();
    file.write_all(content).unwrap();
    Part { file, length }
}

/// A writable disk of 1 MiB and its file, which has nothing yet.
fn writable() -> (Machine, File) {
    let file = temporary_file();
    let disk = Disk::writable(Part { file: file.try_clone().unwrap(), length: 1 << 20 }).unwrap();
    (Machine::new(disk), file)
}

fn content(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn configuration() {
    let read_only = Machine::new(Disk::read_only(vec![part(8192, b"")]).unwrap());
    let mut config = [0xee; 64];
    read_only.device.read_config(0, &mut config);
    assert_eq!(config[..8], 16_u64.to_le_bytes());
    assert_eq!(config[12..16], 254_u32.to_le_bytes());
    assert_eq!(config[60..], [0; 4]);
    assert_ne!(read_only.device.features() & 1 << VIRTIO_BLK_F_RO, 0);
    assert_eq!(read_only.device.features() & 1 << VIRTIO_BLK_F_FLUSH, 0);
    let (writable, _) = writable();
    assert_eq!(writable.device.features() & 1 << VIRTIO_BLK_F_RO, 0);
    writable.device.read_config(0, &mut config);
    assert_eq!(config[36..40], MAX_DISCARDED_SECTORS.to_le_bytes());
}

#[test]
fn parts_read_as_one_disk() {
    let parts = vec![part(8192, &[1; 5000]), part(4096, &[]), part(4096, &[2; 9000])];
    let mut whole = vec![1; 5000];
    whole.resize(12288, 0);
    whole.resize(16384, 2);
    let mut machine = Machine::new(Disk::read_only(parts).unwrap());
    for (sector, length) in
        [(0, 16384), (0, 512), (9, 1024), (15, 4096 + 1024), (16, 512), (31, 512), (32, 0), (0, 0)]
    {
        let start = sector as usize * 512;
        assert_eq!(
            machine.read(sector, length),
            (OK, whole[start..start + length].to_vec()),
            "{sector} {length}"
        );
    }
    let (status, used, data) = machine.request(VIRTIO_BLK_T_IN, 8, &[], &[500, 12, 1, 511]);
    assert_eq!((status, used), (OK, 1025));
    assert_eq!(data, whole[4096..5120]);
}

#[test]
fn ranges_outside_of_the_disk_are_refused() {
    let (mut machine, _) = writable();
    let end = (1 << 20) / 512;
    for (sector, length) in
        [(end, 512), (end - 1, 1024), (u64::MAX, 512), (u64::MAX / 512, 512), (1 << 55, 512)]
    {
        assert_eq!(machine.read(sector, length).0, IO_ERROR, "{sector}");
        assert_eq!(machine.write(sector, &vec![0; length]), IO_ERROR, "{sector}");
        assert_eq!(machine.erase(VIRTIO_BLK_T_DISCARD, sector, (length / 512) as u32, 0), IO_ERROR);
    }
    assert_eq!(machine.read(0, 511).0, IO_ERROR);
    assert_eq!(machine.write(0, &[0; 513]), IO_ERROR);
}

#[test]
fn writes_last_and_flushes_succeed() {
    let (mut machine, mut file) = writable();
    assert_eq!(machine.write(3, &[7; 1024]), OK);
    assert_eq!(machine.request(VIRTIO_BLK_T_FLUSH, 0, &[], &[]).0, OK);
    let mut expected = vec![0; 1536];
    expected.resize(2560, 7);
    assert_eq!(content(&mut file), expected);
    expected.resize(4096, 0);
    assert_eq!(machine.read(0, 4096), (OK, expected));
}

#[test]
fn a_driver_without_flushes_is_served_too() {
    let (mut machine, mut file) = writable();
    machine.device.reset();
    let features = machine.device.features() & !(1 << VIRTIO_BLK_F_FLUSH);
    machine.driver = MockDriver::new(machine.device.queue_sizes());
    machine.driver.activate_with(&mut machine.device, features);
    assert_eq!(machine.write(0, &[9; 512]), OK);
    assert_eq!(content(&mut file), [9; 512]);
}

#[test]
fn a_read_only_disk_takes_nothing() {
    let mut file = temporary_file();
    file.write_all(&[5; 4096]).unwrap();
    let disk = Disk::read_only(vec![Part { file: file.try_clone().unwrap(), length: 4096 }]).unwrap();
    let mut machine = Machine::new(disk);
    assert_eq!(machine.write(0, &[7; 512]), IO_ERROR);
    assert_eq!(machine.request(VIRTIO_BLK_T_FLUSH, 0, &[], &[]).0, UNSUPPORTED);
    assert_eq!(machine.erase(VIRTIO_BLK_T_DISCARD, 0, 8, 0), UNSUPPORTED);
    assert_eq!(machine.erase(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 1), UNSUPPORTED);
    assert_eq!(content(&mut file), [5; 4096]);
}

#[test]
fn erased_ranges_read_as_zeroes() {
    for (kind, flags) in
        [(VIRTIO_BLK_T_DISCARD, 0), (VIRTIO_BLK_T_WRITE_ZEROES, 0), (VIRTIO_BLK_T_WRITE_ZEROES, 1)]
    {
        let (mut machine, _) = writable();
        assert_eq!(machine.write(0, &[7; 16384]), OK);
        assert_eq!(machine.erase(kind, 8, 16, flags), OK);
        let mut expected = vec![7; 4096];
        expected.resize(4096 + 8192, 0);
        expected.resize(16384, 7);
        assert_eq!(machine.read(0, 16384), (OK, expected));
        assert_eq!(machine.erase(kind, 0, 0, flags), OK);
        let most = if kind == VIRTIO_BLK_T_DISCARD { MAX_DISCARDED_SECTORS } else { MAX_ZEROED_SECTORS };
        assert_eq!(machine.erase(kind, 0, most + 1, flags), IO_ERROR);
        assert_eq!(machine.erase(kind, 0, 8, 2), UNSUPPORTED);
    }
    let (mut machine, _) = writable();
    assert_eq!(machine.erase(VIRTIO_BLK_T_DISCARD, 0, 8, 1), UNSUPPORTED);
    assert_eq!(machine.request(VIRTIO_BLK_T_DISCARD, 0, &[0; 15], &[]).0, IO_ERROR);
    assert_eq!(machine.request(VIRTIO_BLK_T_DISCARD, 0, &[0; 32], &[]).0, IO_ERROR);
}

#[test]
fn the_name_is_twenty_bytes() {
    let (mut machine, _) = writable();
    let (status, used, name) = machine.request(VIRTIO_BLK_T_GET_ID, 0, &[], &[20]);
    assert_eq!((status, used, &name[..]), (OK, 21, &b"a-disk-of-which-the-"[..]));
    assert_eq!(machine.request(VIRTIO_BLK_T_GET_ID, 0, &[], &[19]).0, IO_ERROR);
}

#[test]
fn unknown_requests_are_unsupported() {
    let (mut machine, _) = writable();
    for kind in [2, 3, 5, 14, 15, 16, u32::MAX] {
        assert_eq!(machine.request(kind, 0, &[], &[]).0, UNSUPPORTED, "{kind}");
    }
}

#[test]
fn malformed_requests_are_errors() {
    let (mut machine, _) = writable();
    let Machine { device, driver } = &mut machine;
    assert_eq!(driver.request(device, 0, &[&[0; 15]], &[513]), (1, vec![status_last(513, IO_ERROR)]));
    assert_eq!(driver.request(device, 0, &[], &[513]), (1, vec![status_last(513, IO_ERROR)]), "no header");
    // A header in two pieces is as good as one.
    let (used, written) = driver.request(device, 0, &[&[0; 8], &[0; 8]], &[512, 1]);
    assert_eq!((used, written[1][0]), (513, OK));
    assert!(!driver.interrupt.reset_needed());
}

/// A buffer that the device has written to in its last byte only.
fn status_last(length: usize, status: u8) -> Vec<u8> {
    let mut bytes = vec![0xa5; length];
    bytes[length - 1] = status;
    bytes
}

#[test]
fn a_request_with_data_outside_of_memory_is_an_error_that_is_said() {
    let (mut machine, _) = writable();
    let Machine { device, driver } = &mut machine;
    for (kind, address, length) in [
        (VIRTIO_BLK_T_OUT, MockDriver::RAM, 512),
        (VIRTIO_BLK_T_OUT, MockDriver::RAM - 1, 512),
        (VIRTIO_BLK_T_IN, MockDriver::RAM, 512),
        (VIRTIO_BLK_T_IN, u64::MAX, 512),
    ] {
        let header = driver.readable(&[kind.to_le_bytes(), [0; 4], [0; 4], [0; 4]].concat());
        let data = Buffer { address, length, writable: kind == VIRTIO_BLK_T_IN };
        let status = driver.writable(1);
        let head = driver.queues[0].add(&[header, data, status]);
        device.queue_notified(0);
        assert_eq!(driver.queues[0].take_used().unwrap(), (head.into(), 1));
        assert_eq!(driver.read(status), [IO_ERROR], "{kind} {address:x}");
    }
    assert!(!driver.interrupt.reset_needed());
}

#[test]
fn a_request_whose_status_has_no_place_stops_the_device() {
    let chains: [&[Buffer]; 4] = [
        &[Buffer { address: 0x9000, length: 16, writable: false }],
        &[Buffer { address: MockDriver::RAM, length: 16, writable: false }],
        &[
            Buffer { address: 0x9000, length: 16, writable: false },
            Buffer { address: MockDriver::RAM, length: 1, writable: true },
        ],
        &[
            Buffer { address: 0x9000, length: 1, writable: true },
            Buffer { address: 0x9000, length: 16, writable: false },
        ],
    ];
    for chain in chains {
        let (mut machine, _) = writable();
        machine.driver.queues[0].add(chain);
        machine.device.queue_notified(0);
        assert_eq!(machine.driver.queues[0].take_used(), None, "{chain:x?}");
        assert!(machine.driver.interrupt.reset_needed(), "{chain:x?}");
    }
}

const IMAGE: u64 = MockDriver::RAM;

/// A disk, its file, and an image of two pages with its file in persistent memory, which begins at [`IMAGE`].
fn beside_an_image() -> (Machine, File, File) {
    let (Machine { mut device, .. }, file) = writable();
    let image = part(8192, &[[3; 4096], [4; 4096]].concat());
    let image_file = image.file.try_clone().unwrap();
    let images = vec![(IMAGE, Arc::new(Mapping::shared(&[image]).unwrap()))];
    let driver = MockDriver::beside(device.queue_sizes(), images);
    device.reset();
    let features = device.features();
    driver.activate_with(&mut device, features);
    (Machine { device, driver }, file, image_file)
}

impl Machine {
    /// What came of a request with a buffer in the image.
    fn with_image(&mut self, kind: u32, offset: u64, length: u32) -> u8 {
        let header = self.driver.readable(&[kind.to_le_bytes(), [0; 4], [0; 4], [0; 4]].concat());
        let data = Buffer { address: IMAGE + offset, length, writable: kind == VIRTIO_BLK_T_IN };
        let status = self.driver.writable(1);
        self.driver.queues[0].add(&[header, data, status]);
        self.device.queue_notified(0);
        assert!(self.driver.queues[0].take_used().is_some());
        self.driver.read(status)[0]
    }
}

#[test]
fn what_a_guest_maps_of_an_image_can_be_written_to_a_disk() {
    let (mut machine, mut file, _) = beside_an_image();
    assert_eq!(machine.with_image(VIRTIO_BLK_T_OUT, 3584, 1024), OK);
    assert_eq!(content(&mut file), [[3; 512], [4; 512]].concat());
    assert_eq!(machine.with_image(VIRTIO_BLK_T_IN, 0, 512), IO_ERROR, "a read into an image");
    assert_eq!(machine.with_image(VIRTIO_BLK_T_OUT, 2 << 20, 512), IO_ERROR, "behind the image");
    assert_eq!(content(&mut file), [[3; 512], [4; 512]].concat());
}

#[test]
fn what_is_gone_of_an_image_is_an_error_of_the_write() {
    let (mut machine, _, image) = beside_an_image();
    let (seen, troubles) = (Arc::new(Seen::default()), Arc::new(Troubles::default()));
    troubles.listen(seen.clone());
    machine.device.troubles = Some(troubles);
    image.set_len(4096).unwrap();
    assert_eq!(machine.with_image(VIRTIO_BLK_T_OUT, 0, 8192), IO_ERROR);
    assert_eq!(machine.with_image(VIRTIO_BLK_T_OUT, 4096, 4096), IO_ERROR);
    assert_eq!(machine.with_image(VIRTIO_BLK_T_OUT, 0, 4096), OK);
    let told = seen.0.lock().unwrap();
    let [Trouble::DiskWrite { cause, .. }] = &told[..] else { panic!("{told:?}") };
    assert!(cause.contains("has become shorter"), "{cause}");
}

#[test]
fn more_data_than_was_announced_is_refused() {
    let (mut machine, _) = writable();
    let Machine { device, driver } = &mut machine;
    let header = driver.readable(&[0; 16]);
    let most = MAX_SEGMENTS * MAX_SEGMENT_SIZE;
    let piece = Buffer { address: 1 << 20, length: 8 << 20, writable: true };
    let mut chain = vec![header];
    chain.resize(1 + (most / piece.length) as usize + 1, piece);
    let status = driver.writable(1);
    chain.push(status);
    driver.queues[0].add(&chain);
    device.queue_notified(0);
    assert_eq!((driver.queues[0].take_used().unwrap().1, driver.read(status)[0]), (1, IO_ERROR));
}

#[test]
fn a_flush_takes_a_turn_and_erased_bytes_count() {
    let (mut machine, _) = writable();
    let Machine { device, driver } = &mut machine;
    let mut add = |kind: u32, sectors: u32| {
        let mut request = [kind.to_le_bytes(), [0; 4], [0; 4], [0; 4]].concat();
        if sectors > 0 {
            request.extend([[0; 4], [0; 4], sectors.to_le_bytes(), [0; 4]].concat());
        }
        let chain = [driver.readable(&request), driver.writable(1)];
        driver.queues[0].add(&chain);
    };
    (0..2).for_each(|_| add(VIRTIO_BLK_T_FLUSH, 0));
    (0..40).for_each(|_| add(VIRTIO_BLK_T_DISCARD, 2048));
    let mut turn = || {
        device.queue_notified(0);
        let used = std::iter::from_fn(|| driver.queues[0].take_used()).count();
        (used, driver.queues[0].kick.read().is_ok())
    };
    assert_eq!([turn(), turn(), turn(), turn()], [(1, true), (1, true), (32, true), (8, false)]);
}

#[test]
fn a_private_disk_reads_the_same_from_memory() {
    let parts = || vec![part(8192, &[1; 5000]), part(4096, &[2; 9000])];
    let mut files = Machine::new(Disk::read_only(parts()).unwrap());
    let mut memory = Machine::new(Disk::in_memory(PrivateCopy::new(&parts()).unwrap()));
    for (sector, length) in [(0, 12288), (9, 512), (15, 4608), (23, 512)] {
        let read = memory.read(sector, length);
        assert_eq!(read.0, OK);
        assert!(read == files.read(sector, length), "{length} bytes of sector {sector}");
    }
    assert_eq!(memory.read(24, 512).0, IO_ERROR, "nothing of what rounds the copy up");
    assert_eq!(memory.write(0, &[0; 512]), IO_ERROR);
}

#[derive(Default)]
struct Seen(std::sync::Mutex<Vec<Trouble>>);

impl crate::Observer for Seen {
    fn stamp(&self, _byte: u8) {}

    fn serial(&self, _bytes: &[u8]) {}

    fn trouble(&self, trouble: Trouble) {
        self.0.lock().unwrap().push(trouble);
    }
}

/// Every write to it finds the disk full; and it cannot be flushed.
fn full() -> Disk {
    let file = File::options().read(true).write(true).open("/dev/full").unwrap();
    Disk::writable(Part { file, length: 1 << 20 }).unwrap()
}

#[test]
fn a_full_disk_is_an_error_told_once_and_the_device_goes_on() {
    let mut machine = Machine::new(full());
    let (seen, troubles) = (Arc::new(Seen::default()), Arc::new(Troubles::default()));
    troubles.listen(seen.clone());
    machine.device.troubles = Some(troubles);
    for _ in 0..3 {
        assert_eq!(machine.write(0, &[7; 4096]), IO_ERROR);
    }
    assert_eq!(machine.erase(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), IO_ERROR);
    assert_eq!(machine.read(0, 512), (OK, vec![0; 512]));
    let told = seen.0.lock().unwrap();
    let [Trouble::DiskWrite { disk, cause }] = &told[..] else { panic!("{told:?}") };
    assert!(disk == "a-disk-of-which-the-" && cause.contains("No space left"), "{told:?}");
}

#[test]
fn flushes_can_be_ignored() {
    assert_eq!(Machine::new(full()).request(VIRTIO_BLK_T_FLUSH, 0, &[], &[]).0, IO_ERROR);
    let ignoring = Machine::new(full().ignoring_flushes());
    assert_ne!(ignoring.device.features() & 1 << VIRTIO_BLK_F_FLUSH, 0);
    let mut machine = ignoring;
    assert_eq!(machine.request(VIRTIO_BLK_T_FLUSH, 0, &[], &[]).0, OK);
}

#[test]
fn only_a_disk_that_is_written_to_needs_a_thread() {
    assert!(writable().0.device.waits_for_disk());
    assert!(!Machine::new(Disk::read_only(vec![part(8192, b"")]).unwrap()).device.waits_for_disk());
}

#[test]
fn a_driver_hears_of_what_is_done_before_a_flush() {
    let (mut machine, _) = writable();
    machine.device.reset();
    // A driver that hears of everything at once.
    let features = machine.device.features() & !(1 << virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX);
    machine.driver.activate_with(&mut machine.device, features);
    let Machine { device, driver } = &mut machine;
    let mut request = |kind: u32| {
        let header = [kind.to_le_bytes(), [0; 4], [0; 4], [0; 4]].concat();
        let chain =
            [driver.readable(&header), driver.writable(if kind == VIRTIO_BLK_T_IN { 513 } else { 1 })];
        driver.queues[0].add(&chain);
    };
    request(VIRTIO_BLK_T_IN);
    request(VIRTIO_BLK_T_IN);
    request(VIRTIO_BLK_T_FLUSH);
    device.queue_notified(0);
    assert_eq!(
        driver.interrupt.irqfd().unwrap().read().unwrap(),
        2,
        "one interrupt for the reads, one for the flush"
    );
    assert_eq!((0..3).filter_map(|_| driver.queues[0].take_used()).count(), 3);
}

#[test]
fn a_file_that_becomes_shorter_is_an_error_and_told_once() {
    let parts = [part(8192, &[1; 5000]), part(4096, &[2; 4096])];
    let file = parts[0].file.try_clone().unwrap();
    let mut machine = Machine::new(Disk::read_only(parts.into()).unwrap());
    let (seen, troubles) = (Arc::new(Seen::default()), Arc::new(Troubles::default()));
    troubles.listen(seen.clone());
    machine.device.troubles = Some(troubles);
    assert_eq!(machine.read(0, 12288).0, OK);
    file.set_len(4096).unwrap();
    assert_eq!(machine.read(0, 4096), (OK, vec![1; 4096]));
    assert_eq!(machine.read(0, 12288).0, IO_ERROR);
    assert_eq!(machine.read(8, 512).0, IO_ERROR);
    assert_eq!(machine.read(16, 4096), (OK, vec![2; 4096]), "the other file is as it was");
    let cause = "its file has become shorter".to_owned();
    let disk = "a-disk-of-which-the-".to_owned();
    assert_eq!(*seen.0.lock().unwrap(), [Trouble::DiskRead { disk, cause }]);
}
