//! A kernel's image, from the file that somebody has to the memory of a machine: what one reader accepts, the monitor
//! loads into memory that is large enough, all of it in its place and nothing beside it, wherever it is moved.
//!
//! Most inputs are ELF files that are right but for what the fuzzer wants wrong, packed as kernels are.

#![no_main]

use std::cell::RefCell;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use arbitrary::Arbitrary;
use kernels::Kernel;
use kernels_fuzz::packing::Packing;
use kernels_fuzz::store::Store;
use kernels_fuzz::{Damage, elf};
use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};
use vm_memory::{Bytes, FileOffset, GuestAddress};
use vmlinux::{Entry, Vmlinux};
use vmm::kernel_loader::{self, Error};
use vmm::virtio::GuestRam;

#[derive(Arbitrary, Debug)]
struct Input {
    image: Image,
    form: Form,
    packing: Packing,
    damage: Damage,
    seed: Option<u64>,
    /// How much of the memory is somebody else's.
    taken: u8,
}

#[derive(Arbitrary, Debug)]
enum Image {
    Built(Elf),
    Raw(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
enum Form {
    Plain,
    BzImage { sectors: u8, offset: u16, more: Option<Lies> },
}

/// What a boot header may say beside the truth.
#[derive(Arbitrary, Debug)]
struct Lies {
    version: u16,
    flags: u16,
    offset: Option<u32>,
    length: Option<u32>,
}

#[derive(Arbitrary, Debug)]
struct Elf {
    segments: Vec<Segment>,
    entry: Place,
    note: Option<Note>,
    version: Option<Vec<u8>>,
    config: Option<Vec<u8>>,
    /// Lists of places, each behind a zero.
    relocations: Vec<Vec<Place>>,
    behind: Vec<u8>,
    damage: Damage,
}

#[derive(Arbitrary, Debug)]
struct Segment {
    kind: u8,
    gap: u16,
    content: Vec<u8>,
    beyond: u16,
    address: Option<u64>,
    memory_size: Option<u64>,
    offset: Option<u64>,
    file_size: Option<u64>,
}

#[derive(Arbitrary, Debug)]
struct Note {
    name: u8,
    kind: u8,
    entry: Place,
    wide: bool,
    sizes: Option<[u32; 2]>,
}

/// An address in the kernel, or anywhere.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Place {
    In(u16),
    At(u64),
}

impl Place {
    fn address(self) -> u64 {
        match self {
            Place::In(offset) => elf::KERNEL_ADDRESS + u64::from(offset),
            Place::At(address) => address,
        }
    }
}

impl Elf {
    fn bytes(&self) -> Vec<u8> {
        let version = self.version.as_deref().unwrap_or(b"6.1.0-fuzz");
        // The first segment is what every kernel needs.
        let first = elf::kernel(version, self.config.as_deref()).split_off(120);
        let note = self.note.as_ref().map(Note::bytes);
        let segments = &self.segments[..self.segments.len().min(66)];
        let count = 1 + segments.len() + usize::from(note.is_some());
        let mut content = Vec::new();
        let begin = 64 + 56 * count as u64;
        let mut programs =
            elf::program(1, begin, elf::KERNEL_ADDRESS, first.len() as u64, first.len() as u64 + 64);
        let mut address = elf::KERNEL_ADDRESS + first.len() as u64 + 64;
        content.extend(first);
        for segment in segments {
            let kind = [1, 1, 1, 1, 2, 4, 0, 6][usize::from(segment.kind % 8)];
            let size = segment.content.len() as u64;
            address += u64::from(segment.gap);
            let memory = size + u64::from(segment.beyond);
            programs.extend(elf::program(
                kind,
                segment.offset.unwrap_or(begin + content.len() as u64),
                segment.address.unwrap_or(address),
                segment.file_size.unwrap_or(size),
                segment.memory_size.unwrap_or(memory),
            ));
            address += memory;
            content.extend(&segment.content);
        }
        if let Some(note) = note {
            programs.extend(elf::program(4, begin + content.len() as u64, 0, note.len() as u64, 0));
            content.extend(note);
        }
        let header = elf::header(2, self.entry.address(), 64, 0, [count as u16, 0], 0);
        let mut elf = self.damage.done_to([header, programs, content].concat());
        for list in &self.relocations {
            elf.extend([0; 4]);
            list.iter().for_each(|place| elf.extend((place.address() as u32 | 1 << 31).to_le_bytes()));
        }
        elf.extend(&self.behind);
        elf
    }
}

impl Note {
    fn bytes(&self) -> Vec<u8> {
        let name = [&b"Xen\0"[..], b"GNU\0", b"Linux\0\0\0", b""][usize::from(self.name % 4)];
        let entry = self.entry.address().to_le_bytes();
        let entry = if self.wide { &entry[..] } else { &entry[..4] };
        let [name_size, size] = self.sizes.unwrap_or([name.len() as u32, entry.len() as u32]);
        let kind = if self.kind < 200 { 18 } else { u32::from(self.kind) };
        let fields = [name_size, size, kind].map(u32::to_le_bytes).concat();
        [&fields, name, entry].concat()
    }
}

impl Input {
    fn bytes(&self) -> Vec<u8> {
        let elf = match &self.image {
            Image::Built(elf) => elf.bytes(),
            Image::Raw(bytes) => bytes.clone(),
        };
        let packed = self.packing.pack(&elf);
        let image = match &self.form {
            Form::Plain => packed,
            Form::BzImage { sectors, offset, more } => {
                bzimage(packed, elf.len(), *sectors, *offset, more.as_ref())
            }
        };
        self.damage.done_to(image)
    }
}

fn bzimage(mut payload: Vec<u8>, unpacked: usize, sectors: u8, offset: u16, lies: Option<&Lies>) -> Vec<u8> {
    payload.extend((unpacked as u32).to_le_bytes());
    let sectors = sectors % 8;
    let begin = (if sectors == 0 { 4 } else { usize::from(sectors) } + 1) * 512 + usize::from(offset % 1024);
    let mut image = vec![0x90; begin];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x1f1, &[sectors]);
    put(0x1fe, &[0x55, 0xaa]);
    put(0x202, b"HdrS");
    put(0x206, &lies.map_or(0x020f, |lies| lies.version).to_le_bytes());
    put(0x236, &lies.map_or(1, |lies| lies.flags).to_le_bytes());
    let length = payload.len() as u32;
    put(0x248, &lies.and_then(|lies| lies.offset).unwrap_or(u32::from(offset % 1024)).to_le_bytes());
    put(0x24c, &lies.and_then(|lies| lies.length).unwrap_or(length).to_le_bytes());
    image.extend(payload);
    image
}

/// As much memory as the machine has: some kernels fit, and can be moved a little.
const MEMORY: u64 = 8 << 20;

/// Memory in which nothing is yet, and the file that it is, which knows what was touched.
fn empty_memory() -> (GuestRam, File) {
    let file = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
    file.set_len(MEMORY).unwrap();
    let part = Some(FileOffset::new(file.try_clone().unwrap(), 0));
    (GuestRam::from_ranges_with_files([(GuestAddress(0), MEMORY as usize, part)]).unwrap(), file)
}

fn load(stored: &Kernel, seed: Option<u64>, taken: u64) {
    let file = File::open(&stored.vmlinux).unwrap();
    let kernel = Vmlinux::read(&file).unwrap();
    let linked = kernel.memory();
    assert!(
        kernel
            .segments
            .iter()
            .all(|segment| linked.start <= segment.address && segment.range().end <= linked.end)
    );
    let (memory, touched) = empty_memory();
    let loaded = match kernel_loader::Kernel::load(&file, &memory, MEMORY, MEMORY - taken, seed) {
        Ok(loaded) => loaded,
        Err(Error::Memory { .. }) => {
            assert!(linked.end > MEMORY);
            return only(&touched, 0..0);
        }
        Err(error @ Error::Kaslr(_)) => {
            assert!(seed.is_some() && stored.relocations != Some(0));
            return assert!(!error.to_string().contains('\n'));
        }
        Err(error) => panic!("{error}"),
    };
    let by = loaded.end - linked.end;
    assert!(loaded.end <= MEMORY && by % (2 << 20) == 0 && (by == 0 || loaded.end <= MEMORY - taken));
    assert_eq!(loaded.randomized, seed.is_some() && stored.relocations != Some(0) && !is_pvh(&kernel));
    let entry = match (kernel.entry, loaded.entry) {
        (Entry::Linux64(linked), Entry::Linux64(entry)) => {
            assert_eq!(entry, linked + by);
            entry
        }
        (Entry::Pvh(linked), Entry::Pvh(entry)) => {
            assert_eq!((entry, by), (linked, 0));
            entry
        }
        entries => panic!("{entries:?}"),
    };
    assert!((linked.start + by..loaded.end).contains(&entry));
    only(&touched, linked.start + by..loaded.end);
    if !loaded.randomized {
        for segment in &kernel.segments {
            let mut expected = vec![0; segment.file_size as usize];
            file.read_exact_at(&mut expected, segment.offset).unwrap();
            let mut found = vec![0; segment.memory_size as usize];
            memory.read_slice(&mut found, GuestAddress(segment.address)).unwrap();
            assert!(found.starts_with(&expected) && found[expected.len()..].iter().all(|byte| *byte == 0));
        }
    }
}

fn is_pvh(kernel: &Vmlinux) -> bool {
    matches!(kernel.entry, Entry::Pvh(_))
}

/// Nothing was written but there.
fn only(touched: &File, place: Range<u64>) {
    let mut position = 0;
    while let Ok(data) = seek(touched, SeekFrom::Data(position)) {
        position = seek(touched, SeekFrom::Hole(data)).unwrap();
        let mut bytes = vec![0; (position - data) as usize];
        touched.read_exact_at(&mut bytes, data).unwrap();
        let beside = bytes.iter().zip(data..).find(|(byte, at)| **byte != 0 && !place.contains(at));
        assert_eq!(beside, None, "something was written beside the kernel, which is at {place:?}");
    }
}

thread_local! {
    static STORE: RefCell<Option<Store>> = const { RefCell::new(None) };
}

fuzz_target!(|input: Input| {
    STORE.with_borrow_mut(|store| {
        let store = store.get_or_insert_with(|| Store::new("kernel"));
        let path = store.scratch("image");
        fs::write(&path, input.bytes()).unwrap();
        store.add(&[path.into()], Some("kernel"), |kernel| {
            load(kernel, None, 0);
            if input.seed.is_some() {
                load(kernel, input.seed, u64::from(input.taken) << 15);
            }
        });
    });
});
