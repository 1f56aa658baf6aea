//! Guests of a few instructions, each in a kernel file of its own.

use std::path::PathBuf;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use vmm::{Error, EventFd, Firmware, Machine, MachineSpec, Observer, Report, Transport, Trouble};

/// Where the guests' code is loaded and begins.
const CODE: u64 = 0x10_0000;

/// Machine code, assembled by hand.
#[derive(Default, Clone)]
pub struct Code(pub Vec<u8>);

impl Code {
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// mov dx, port; mov al, value; out dx, al. In 32-bit as in 64-bit mode.
    pub fn out(self, port: u16, value: u8) -> Self {
        let [low, high] = port.to_le_bytes();
        self.bytes(&[0x66, 0xba, low, high, 0xb0, value, 0xee])
    }

    pub fn print(self, text: &str) -> Self {
        text.bytes().fold(self, |code, byte| code.out(0x3f8, byte))
    }

    /// jmp to itself.
    pub fn spin(self) -> Self {
        self.bytes(&[0xeb, 0xfe])
    }

    pub fn power_off(self) -> Self {
        self.out(vmm::layout::SLEEP_CONTROL_PORT, vmm::layout::POWER_OFF).spin()
    }
}

/// What the observer was told.
#[derive(Default)]
pub struct Seen {
    pub stamps: Mutex<Vec<u8>>,
    pub serial: Mutex<Vec<u8>>,
    pub troubles: Mutex<Vec<Trouble>>,
}

impl Observer for Seen {
    fn stamp(&self, byte: u8) {
        self.stamps.lock().unwrap().push(byte);
    }

    fn serial(&self, bytes: &[u8]) {
        self.serial.lock().unwrap().extend(bytes);
    }

    fn trouble(&self, trouble: Trouble) {
        self.troubles.lock().unwrap().push(trouble);
    }
}

/// A kernel of `code`, entered in 64-bit mode.
pub fn kernel(code: &Code) -> Vec<u8> {
    elf(code, CODE, &[])
}

/// A kernel that can only be entered by the PVH protocol, in 32-bit mode without paging.
pub fn pvh_kernel(code: &Code) -> Vec<u8> {
    let mut note = Vec::new();
    // Name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY, name, entry.
    for word in [4u32, 8, 18] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"Xen\0");
    note.extend(CODE.to_le_bytes());
    elf(code, 0xffff_ffff_8010_0000, &note)
}

fn elf(code: &Code, entry: u64, note: &[u8]) -> Vec<u8> {
    const HEADER: u64 = 64;
    const SEGMENT: u64 = 56;
    let segments = if note.is_empty() { 1u16 } else { 2 };
    let code_at = HEADER + u64::from(segments) * SEGMENT;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    file.extend(entry.to_le_bytes());
    file.extend(HEADER.to_le_bytes());
    file.extend([0; 12]);
    for half in [HEADER as u16, SEGMENT as u16, segments, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    let mut segment = |kind: u32, offset: u64, address: u64, size: u64| {
        file.extend(kind.to_le_bytes());
        file.extend(7u32.to_le_bytes());
        for word in [offset, address, address, size, size, 4] {
            file.extend(word.to_le_bytes());
        }
    };
    segment(1, code_at, CODE, code.0.len() as u64);
    if !note.is_empty() {
        segment(4, code_at + code.0.len() as u64, 0, note.len() as u64);
    }
    file.extend(&code.0);
    file.extend(note);
    file
}

/// A file that is gone when the test is over.
pub struct TemporaryFile(pub PathBuf);

impl TemporaryFile {
    pub fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("vmm-test-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A small machine around a kernel.
pub fn spec(kernel: &TemporaryFile) -> MachineSpec {
    MachineSpec {
        vcpus: 1,
        memory: 4 << 20,
        kernel: kernel.0.clone(),
        kaslr: None,
        initramfs: vec![],
        cmdline: String::new(),
        firmware: Firmware::Acpi,
        transport: Transport::Mmio,
        pmem: vec![],
        blocks: vec![],
        vsock: None,
        rng: true,
        balloon: false,
    }
}

/// Runs the machine on a thread of its own, which the jail takes, and stops it after `limit`.
pub fn run(spec: MachineSpec, limit: Duration) -> (Result<Report, Error>, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    (run_before(spec, limit, seen.clone(), || {}), seen)
}

/// Does the same, and calls `meanwhile` while the guest waits at its only stamp.
pub fn run_around(spec: MachineSpec, limit: Duration, meanwhile: impl FnOnce()) -> Result<Report, Error> {
    let held = Arc::new(Held(Barrier::new(2)));
    run_before(spec, limit, held.clone(), || {
        held.0.wait();
        meanwhile();
        held.0.wait();
    })
}

/// An observer that holds the guest at its stamp.
struct Held(Barrier);

impl Observer for Held {
    fn stamp(&self, _byte: u8) {
        self.0.wait();
        self.0.wait();
    }

    fn serial(&self, _bytes: &[u8]) {}

    fn trouble(&self, _trouble: Trouble) {}
}

fn run_before(
    spec: MachineSpec,
    limit: Duration,
    observer: Arc<dyn Observer>,
    then: impl FnOnce(),
) -> Result<Report, Error> {
    let stop = EventFd::new(0).unwrap();
    let machine = {
        let stop = stop.try_clone().unwrap();
        thread::spawn(move || Machine::new(spec)?.run(observer, stop))
    };
    then();
    let step = Duration::from_millis(5);
    let mut waited = Duration::ZERO;
    while !machine.is_finished() && waited < limit {
        thread::sleep(step);
        waited += step;
    }
    stop.write(1).unwrap();
    machine.join().unwrap()
}
