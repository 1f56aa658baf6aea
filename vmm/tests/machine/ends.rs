//! Machines with hand-written guests: what they show, and how their ends are told apart.

use std::time::Duration;

use crate::guest::{Code, TemporaryFile, kernel, pvh_kernel, run, run_around, spec};
use vmm::{DiskPart, End, Firmware, PmemSpec, Trouble, layout};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);

fn end_of(name: &str, code: &Code) -> End {
    let kernel = TemporaryFile::new(name, &kernel(code));
    run(spec(&kernel), LONG).0.unwrap().end
}

#[test]
fn stamps_and_serial_output_are_seen_and_power_off_is_the_end() {
    let code = Code::default()
        .out(layout::STAMP_PORT, 7)
        .print("hello\nrest")
        .out(layout::STAMP_PORT, 8)
        .power_off();
    let kernel = TemporaryFile::new("hello", &kernel(&code));
    let (report, seen) = run(spec(&kernel), LONG);
    let report = report.unwrap();
    assert_eq!(report.end, End::PowerOff);
    assert_eq!(report.last_serial, b"hello\nrest");
    assert_eq!(*seen.serial.lock().unwrap(), b"hello\nrest");
    assert_eq!(*seen.stamps.lock().unwrap(), [7, 8]);
}

#[test]
fn both_ways_to_reset_are_reboots() {
    assert_eq!(
        end_of("reset", &Code::default().out(layout::RESET_PORT, layout::RESET_VALUE).spin()),
        End::Reboot
    );
    let keyboard = Code::default().out(layout::KEYBOARD_PORT, layout::KEYBOARD_RESET).spin();
    assert_eq!(end_of("keyboard", &keyboard), End::Reboot);
}

#[test]
fn a_reset_after_a_panic_message_is_a_panic() {
    let code = Code::default()
        .print("[1.0] Kernel panic - not syncing: no init\n")
        .out(layout::RESET_PORT, 1)
        .spin();
    assert_eq!(end_of("panic", &code), End::Panic);
}

#[test]
fn a_fault_without_handlers_is_a_triple_fault() {
    // lidt [rip + 2]; ud2; an empty descriptor.
    let code = Code::default().bytes(&[0x0f, 0x01, 0x1d, 2, 0, 0, 0, 0x0f, 0x0b]).bytes(&[0; 10]);
    assert_eq!(end_of("triple", &code), End::TripleFault);
}

#[test]
fn guests_that_spin_halt_or_sleep_can_be_stopped() {
    let halt = Code::default().bytes(&[0xfa, 0xf4]).spin();
    for (name, code) in [("spin", Code::default().spin()), ("halt", halt)] {
        let kernel = TemporaryFile::new(name, &kernel(&code));
        let mut spec = spec(&kernel);
        // The second and third wait to be started.
        spec.vcpus = 3;
        assert_eq!(run(spec, SHORT).0.unwrap().end, End::Stopped);
    }
}

#[test]
fn a_kernel_with_only_a_pvh_entry_starts_in_32_bit_mode_and_finds_the_devices() {
    // mov eax, [window 0]; then each of its bytes to the stamp port; then the magic number of the start info in ebx.
    let send = |mut code: Code| {
        code = code.bytes(&[0x66, 0xba]).bytes(&layout::STAMP_PORT.to_le_bytes());
        (0..4).fold(code, |code, _| code.bytes(&[0xee, 0xc1, 0xe8, 8]))
    };
    let code = send(Code::default().bytes(&[0xa1]).bytes(&(layout::MMIO_START as u32).to_le_bytes()));
    let code = send(code.bytes(&[0x8b, 0x03])).power_off();
    let kernel = TemporaryFile::new("pvh", &pvh_kernel(&code));
    let (report, seen) = run(spec(&kernel), LONG);
    assert_eq!(report.unwrap().end, End::PowerOff);
    assert_eq!(*seen.stamps.lock().unwrap(), b"virt\x78\xc5\x6e\x33");
}

/// Maps the first 2 MiB of persistent memory (at 4 GiB) over the last 2 MiB of the first GiB, and puts that address
/// into rbx: mov rax, entry; mov [page directory's last entry], rax; mov ebx, address.
fn map_pmem() -> Code {
    let entry = layout::PAGE_TABLES + 2 * 4096 + 511 * 8;
    Code::default()
        .bytes(&[0x48, 0xb8])
        .bytes(&((4u64 << 30) | 0x83).to_le_bytes())
        .bytes(&[0x48, 0x89, 0x04, 0x25])
        .bytes(&(entry as u32).to_le_bytes())
        .bytes(&[0xbb])
        .bytes(&(511u32 << 21).to_le_bytes())
}

fn pmem(content: &TemporaryFile) -> Vec<PmemSpec> {
    vec![PmemSpec { parts: vec![DiskPart { path: content.0.clone(), length: 4096 }], private: false }]
}

#[test]
fn writes_into_persistent_memory_are_dropped_and_counted() {
    // mov byte [rbx], 'x'; mov dx, stamp; mov al, [rbx]; out dx, al; and the same beyond the file's end.
    let stamp = Code::default().bytes(&[0x66, 0xba]).bytes(&layout::STAMP_PORT.to_le_bytes());
    let code = map_pmem()
        .bytes(&[0xc6, 0x03, b'x'])
        .bytes(&stamp.0)
        .bytes(&[0x8a, 0x03, 0xee])
        .bytes(&[0x8a, 0x83, 0, 0x20, 0, 0, 0xee])
        .power_off();
    let kernel = TemporaryFile::new("dropped", &kernel(&code));
    let content = TemporaryFile::new("dropped.pmem", b"content");
    let mut spec = spec(&kernel);
    spec.pmem = pmem(&content);
    let (report, seen) = run(spec, LONG);
    let report = report.unwrap();
    assert_eq!((report.end, report.dropped_pmem_writes), (End::PowerOff, 1));
    assert_eq!(*seen.troubles.lock().unwrap(), [Trouble::PmemWrite]);
    assert_eq!(*seen.stamps.lock().unwrap(), b"c\0");
    assert_eq!(std::fs::read(&content.0).unwrap(), b"content");
}

/// A guest that reads the first byte of its persistent memory after the stamp.
fn reader() -> Code {
    // mov al, [rbx].
    map_pmem().out(layout::STAMP_PORT, 1).bytes(&[0x8a, 0x03]).power_off()
}

#[test]
fn a_disk_that_is_cut_short_under_its_machine_is_said() {
    let kernel = TemporaryFile::new("cut", &kernel(&reader()));
    let content = TemporaryFile::new("cut.pmem", b"content");
    let mut spec = spec(&kernel);
    spec.pmem = pmem(&content);
    let error = run_around(spec, LONG, || std::fs::write(&content.0, b"").unwrap()).unwrap_err();
    assert!(error.to_string().contains("file of the machine's disk was cut short"), "{error}");
}

#[test]
fn a_private_copy_outlives_its_file() {
    let kernel = TemporaryFile::new("outlives", &kernel(&reader()));
    let content = TemporaryFile::new("outlives.pmem", b"content");
    let mut spec = spec(&kernel);
    spec.pmem = pmem(&content);
    spec.pmem[0].private = true;
    let report = run_around(spec, LONG, || std::fs::write(&content.0, b"").unwrap()).unwrap();
    assert_eq!(report.end, End::PowerOff);
}

#[test]
fn a_write_that_cannot_be_emulated_is_the_guests_fault() {
    // fnsave [rbx].
    let kernel = TemporaryFile::new("fault", &kernel(&map_pmem().bytes(&[0xdd, 0x33]).power_off()));
    let content = TemporaryFile::new("fault.pmem", b"content");
    let mut spec = spec(&kernel);
    spec.pmem = pmem(&content);
    let end = run(spec, LONG).0.unwrap().end;
    assert!(matches!(&end, End::Fault(text) if text.contains("persistent memory")), "{end:?}");
}

#[test]
fn bad_kernels_and_too_little_memory_are_said_in_one_line() {
    let refused = |name: &str, file: &[u8], change: &dyn Fn(&mut vmm::MachineSpec)| {
        let kernel = TemporaryFile::new(name, file);
        let mut spec = spec(&kernel);
        change(&mut spec);
        let mut error = &run(spec, LONG).0.unwrap_err() as &dyn std::error::Error;
        let mut text = error.to_string();
        while let Some(source) = error.source() {
            text = format!("{text}: {source}");
            error = source;
        }
        assert!(!text.contains('\n'), "{text}");
        text
    };
    let good = kernel(&Code::default().spin());
    assert!(refused("empty", b"", &|_| {}).contains("too short for an ELF file"));
    assert!(refused("script", &[b'#'; 99], &|_| {}).contains("not an ELF file"));
    assert!(refused("short", &good[..70], &|_| {}).contains("the kernel's image is damaged"));
    assert!(refused("cut", &good[..good.len() - 1], &|_| {}).contains("a segment of"));
    let arm = [&good[..18], &[183, 0], &good[20..]].concat();
    assert!(refused("arm", &arm, &|_| {}).contains("this kernel is for arm64"));
    assert!(refused("small", &good, &|spec| spec.memory = 1 << 20).contains("multiple of 2 MiB"));
    let sized = |size: u64| [&good[..64 + 40], &size.to_le_bytes(), &good[64 + 48..]].concat();
    assert!(refused("huge", &sized(1 << 40), &|_| {}).contains("ends beyond 4 GiB"));
    let large = refused("large", &sized(16 << 20), &|_| {});
    assert!(large.contains("needs memory up to 17 MiB, the machine has 4 MiB"), "{large}");
    let low = [&good[..64 + 24], &0x7000u64.to_le_bytes(), &good[64 + 32..]].concat();
    assert!(refused("low", &low, &|_| {}).contains("in the first MiB"));
    assert!(refused("line", &good, &|spec| spec.cmdline = "x".repeat(2048)).contains("2048 bytes long"));
    let devices = |spec: &mut vmm::MachineSpec| spec.firmware = Firmware::CommandLine;
    assert!(refused("entry", &pvh_less(&good), &devices).contains("begins neither"));
}

/// The same kernel with an entry outside of its code.
fn pvh_less(good: &[u8]) -> Vec<u8> {
    [&good[..24], &0xffff_ffff_8010_0000u64.to_le_bytes(), &good[32..]].concat()
}
