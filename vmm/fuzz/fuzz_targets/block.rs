//! Requests of a block driver on a writable disk, compared with a model of the disk, and on a read-only one.
#![no_main]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use vmm::virtio::block::BlockDevice;
use vmm::virtio::block::disk::{Disk, Part};
use vmm_fuzz::{Layout, Session};

const LENGTH: usize = 256 << 10;
const OK: u8 = 0;

#[derive(Arbitrary, Debug)]
struct Input {
    features: u64,
    writable: bool,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Request { layout: Layout, request: Request },
    Memory { address: u16, bytes: [u8; 8] },
    Config { offset: u16, length: u8 },
    Restart,
}

#[derive(Arbitrary, Debug)]
enum Request {
    Read { sector: u16, sectors: u8, extra: bool },
    Write { sector: u16, sectors: u8, fill: u8, extra: bool },
    Flush,
    Id { room: u8 },
    Erase { zero: bool, sector: u16, sectors: u16, flags: u8 },
    Raw { kind: u32, sector: u64, data: Vec<u8>, room: u16 },
    Bare { readable: Vec<u8>, room: u8 },
}

fuzz_target!(|input: Input| {
    let steps = &input.steps[..input.steps.len().min(64)];
    let file = scratch();
    file.set_len(0).expect("truncate");
    let mut read_only_parts = Vec::new();
    for length in [5000, 0, 9000] {
        let mut part = scratch_part(length);
        part.flush().expect("flush");
        read_only_parts.push(Part { file: part, length: 8192 });
    }
    let disk = match input.writable {
        true => Disk::writable(Part { file: file.try_clone().expect("dup"), length: LENGTH as u64 }),
        false => Disk::read_only(read_only_parts),
    };
    let mut device = BlockDevice::new(disk.expect("disk"), "fuzz");
    let mut session = Session::new(&mut device, input.features);
    let mut model = vec![0_u8; LENGTH];
    for step in steps {
        match step {
            Step::Request { layout, request } => {
                carry_out(&mut session, layout, request, &mut model, input.writable)
            }
            Step::Memory { address, bytes } => session.write_memory(*address, bytes),
            Step::Config { offset, length } => {
                session.device.read_config(u64::from(*offset), &mut vec![0; usize::from(*length)]);
            }
            Step::Restart => session.restart(),
        }
        assert!(file.metadata().expect("stat").len() <= LENGTH as u64, "the file outgrew the disk");
    }
});

/// Often around the disk's end.
fn place(sector: u16) -> u16 {
    match sector % 4 {
        0 => sector,
        1 => (sector / 4) % (LENGTH / 512) as u16,
        _ => (LENGTH / 512) as u16 + 4 - (sector / 4) % 16,
    }
}

fn carry_out(session: &mut Session, layout: &Layout, request: &Request, model: &mut [u8], writable: bool) {
    let sector_bytes = |sector: u16, length: usize| {
        let start = usize::from(sector) * 512;
        (start + length <= LENGTH).then_some(start..start + length)
    };
    match *request {
        Request::Read { sector, sectors, extra } => {
            let sector = place(sector);
            let length = usize::from(sectors) * 512 + usize::from(extra);
            let answer = session.request(0, layout, &header(0, sector.into(), &[]), length + 1);
            if let (Some((used, bytes)), true) = (answer, writable) {
                let expected = sector_bytes(sector, length).filter(|_| !extra);
                assert_eq!(bytes.last() == Some(&OK), expected.is_some());
                if let Some(range) = expected {
                    assert_eq!(used as usize, length + 1);
                    assert!(bytes[..length] == model[range], "read something else than was written");
                }
            }
        }
        Request::Write { sector, sectors, fill, extra } => {
            let sector = place(sector);
            let data = vec![fill; usize::from(sectors) * 512 + usize::from(extra)];
            let answer = session.request(0, layout, &header(1, sector.into(), &data), 1);
            match answer {
                Some((_, status)) => {
                    let expected = sector_bytes(sector, data.len()).filter(|_| !extra && writable);
                    assert_eq!(status == [OK], expected.is_some() || data.is_empty() && status == [OK]);
                    if let (true, Some(range)) = (status == [OK], expected) {
                        model[range].fill(fill);
                    }
                }
                None => forget(model, writable),
            }
        }
        Request::Flush => drop(session.request(0, layout, &header(4, 0, &[]), 1)),
        Request::Id { room } => drop(session.request(0, layout, &header(8, 0, &[]), room.into())),
        Request::Erase { zero, sector, sectors, flags } => {
            let (sector, sectors) = (place(sector), if flags & 0x80 == 0 { sectors % 16 } else { sectors });
            let flags = flags & 0x7f;
            let mut range = u64::from(sector).to_le_bytes().to_vec();
            range.extend(u32::from(sectors).to_le_bytes());
            range.extend(u32::from(flags).to_le_bytes());
            let answer = session.request(0, layout, &header(if zero { 13 } else { 11 }, 0, &range), 1);
            match (answer, sector_bytes(sector, usize::from(sectors) * 512)) {
                (Some((_, status)), Some(range)) if status == [OK] => model[range].fill(0),
                (Some((_, status)), None) => assert_ne!(status, [OK]),
                (Some(_), _) => {}
                (None, _) => forget(model, writable),
            }
        }
        Request::Raw { kind, sector, ref data, room } => {
            session.request(0, layout, &header(kind, sector, data), room.into());
            forget(model, writable);
        }
        Request::Bare { ref readable, room } => {
            session.request(0, layout, readable, room.into());
            forget(model, writable);
        }
    }
}

/// A flawed request may have been carried out or not: the model learns from the file.
fn forget(model: &mut [u8], writable: bool) {
    if writable {
        model.fill(0);
        let mut at = 0;
        while let Ok(count @ 1..) = scratch().read_at(&mut model[at..], at as u64) {
            at += count;
        }
    }
}

fn header(kind: u32, sector: u64, data: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend([0; 4]);
    bytes.extend(sector.to_le_bytes());
    bytes.extend(data);
    bytes
}

fn scratch() -> &'static File {
    static FILE: OnceLock<File> = OnceLock::new();
    FILE.get_or_init(|| temporary("writable"))
}

fn scratch_part(length: usize) -> File {
    static FILES: OnceLock<[File; 3]> = OnceLock::new();
    let files = FILES.get_or_init(|| ["a", "b", "c"].map(temporary));
    let file = &files[length / 4500 % 3];
    if file.metadata().expect("stat").len() != length as u64 {
        file.write_all_at(&vec![length as u8; length], 0).expect("write");
    }
    file.try_clone().expect("dup")
}

/// In memory where the host has such a file system.
fn temporary(name: &str) -> File {
    let directory =
        ["/dev/shm", "/tmp"].into_iter().find(|path| std::path::Path::new(path).is_dir()).unwrap_or(".");
    let path = format!("{directory}/vmrun-fuzz-block-{}-{name}", std::process::id());
    let file =
        File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("scratch file");
    std::fs::remove_file(path).expect("unlink");
    file
}
