use std::io::Write;

use super::*;

const KERNEL: u64 = 16 << 20;

/// A program header: kind, offset, address, bytes in the file and in memory.
type Program = (u32, u64, u64, u64, u64);

const LOAD: u32 = 1;
const NOTE: u32 = 4;

/// An ELF file with these program headers, 4 KiB long, and `behind` behind it.
fn elf(entry: u64, programs: &[Program], note: &[u8], behind: &[u8]) -> File {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for field in [entry, 64, 0] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend([0; 4]);
    for field in [64, 56, programs.len() as u16, 64, 0, 0] {
        bytes.extend(field.to_le_bytes());
    }
    for &(kind, offset, address, file_size, memory_size) in programs {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(7_u32.to_le_bytes());
        for field in [offset, address, address, file_size, memory_size, 4] {
            bytes.extend(field.to_le_bytes());
        }
    }
    bytes.resize(0x800, 0);
    bytes.extend(note);
    bytes.resize(0x1000, 0);
    bytes.extend(behind);
    file(&bytes)
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn with(programs: &[Program]) -> Result<Vmlinux, Error> {
    Vmlinux::read(&elf(KERNEL, programs, &[], &[]))
}

fn complaint(programs: &[Program]) -> String {
    with(programs).unwrap_err().to_string()
}

/// A segment from the file's upper half.
const fn segment(address: u64, file_size: u64, memory_size: u64) -> Program {
    (LOAD, 0x800, address, file_size, memory_size)
}

const GOOD: Program = segment(KERNEL, 0x800, 1 << 20);

#[test]
fn a_kernel_is_read() {
    let kernel = with(&[segment(KERNEL + (1 << 20), 16, 16), GOOD, segment(0, 0, 0)]).unwrap();
    assert_eq!(kernel.entry, Entry::Linux64(KERNEL));
    assert_eq!(kernel.memory(), KERNEL..KERNEL + (1 << 20) + 16);
    assert_eq!(
        kernel.segments[0],
        Segment { address: KERNEL, memory_size: 1 << 20, offset: 0x800, file_size: 0x800 }
    );
    assert_eq!(kernel.relocations(&elf(KERNEL, &[GOOD], &[], &[])).unwrap(), None);
}

#[test]
fn segments_that_cannot_be_are_refused() {
    for (programs, expected) in [
        (vec![], "without segments to load"),
        (
            vec![GOOD, segment(KERNEL + 0xff0, 16, 32)],
            "two segments lie over one another, at 0x1000000 and 0x1000ff0",
        ),
        (vec![GOOD, GOOD], "two segments lie over one another"),
        (vec![segment(KERNEL, 0x801, 1 << 20)], "a segment of 2049 bytes at byte 2048, in a file of 4096"),
        (vec![(LOAD, u64::MAX, KERNEL, 2, 2)], "a segment of 2 bytes at byte 18446744073709551615"),
        (vec![segment(KERNEL, 16, 15)], "a segment of 16 bytes has only 15 bytes of memory"),
        (vec![segment(KERNEL, 16, 1 << 40)], "ends beyond 4 GiB"),
        (vec![GOOD, segment(u64::MAX, 16, 16)], "ends beyond 4 GiB"),
        (vec![GOOD, segment((4 << 30) - 16, 16, 17)], "ends beyond 4 GiB"),
        (vec![GOOD, segment(0x7000, 16, 16)], "a segment lies at address 0x7000, in the first MiB"),
        (vec![GOOD; 65], "it has 65 program headers"),
    ] {
        let text = complaint(&programs);
        assert!(text.contains(expected) && !text.contains('\n'), "{text}");
    }
}

#[test]
fn an_entry_outside_of_what_is_loaded_is_refused() {
    for entry in [0, KERNEL - 1, KERNEL + 0x800, KERNEL + (1 << 20), u64::MAX] {
        let error = Vmlinux::read(&elf(entry, &[GOOD], &[], &[])).unwrap_err().to_string();
        assert!(error.contains("nor with a PVH note"), "{error}");
    }
}

fn note(name_size: u32, description: &[u8], kind: u32) -> Vec<u8> {
    let mut note = Vec::new();
    for word in [name_size, description.len() as u32, kind] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"Xen\0");
    note.extend(description);
    note
}

fn pvh(note: &[u8]) -> Result<Entry, Error> {
    let programs = [GOOD, (NOTE, 0x800, 0, note.len() as u64, note.len() as u64)];
    Ok(Vmlinux::read(&elf(u64::MAX - 0xfff, &programs, note, &[]))?.entry)
}

#[test]
fn a_pvh_note_is_believed_only_where_it_can_be() {
    let entry = Entry::Pvh(KERNEL + 0x7ff);
    let address = KERNEL + 0x7ff;
    assert_eq!(pvh(&note(4, &address.to_le_bytes(), 18)).unwrap(), entry);
    assert_eq!(pvh(&note(4, &(address as u32).to_le_bytes(), 18)).unwrap(), entry);
    let second = [note(4, b"xyz\0", 6), note(4, &address.to_le_bytes(), 18)].concat();
    assert_eq!(pvh(&second).unwrap(), entry);
    for (note, expected) in [
        (note(4, &(KERNEL + 0x800).to_le_bytes(), 18), "nor where its PVH note says (0x1000800)"),
        (note(4, &(1_u64 << 32 | KERNEL).to_le_bytes(), 18), "nor where its PVH note says (0x101000000)"),
        (note(4, &[0; 2], 18), "its PVH note has an entry of 2 bytes"),
        (note(4, &address.to_le_bytes(), 17), "nor with a PVH note"),
        (note(u32::MAX, &address.to_le_bytes(), 18), "its notes: "),
        (note(4, &address.to_le_bytes(), 18)[..20].to_vec(), "its notes: "),
    ] {
        let error = pvh(&note).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
    // A note of no interest is looked at all the same when the kernel can be entered without.
    let outside = [GOOD, (NOTE, 0xff0, 0, u64::MAX, 0)];
    assert!(with(&outside).is_err());
    // What is claimed to be notes is not read to find out.
    assert!(complaint(&[GOOD, (NOTE, 0, 0, 64 << 20, 0)]).contains("its notes take 67108864 bytes"));
}

#[test]
fn what_is_no_x86_64_kernel_is_called_so() {
    let complaint = |bytes: &[u8]| Vmlinux::read(&file(bytes)).unwrap_err().to_string();
    assert!(complaint(b"").contains("too short"));
    assert!(complaint(&[b'x'; 64]).contains("not an ELF file"));
    let mut big_endian = b"\x7fELF\x02\x02\x01".to_vec();
    big_endian.resize(64, 0);
    big_endian[19] = 62;
    assert!(complaint(&big_endian).contains("a big-endian machine"));
    let mut cut = b"\x7fELF\x02\x01\x01".to_vec();
    cut.resize(32, 0);
    cut[18] = 62;
    assert!(complaint(&cut).contains("damaged"));
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn relocations(behind: &[u8]) -> Option<Relocations> {
    let file = elf(KERNEL, &[GOOD], &[], behind);
    Vmlinux::read(&file).unwrap().relocations(&file).unwrap()
}

#[test]
fn relocations_are_found_behind_the_elf_file() {
    let base = 0x8100_0000;
    let address = |offset: u32| base + offset;
    let old = relocations(&words(&[0, base + 8, base + 16, 0, base + 24, 0, base + 32])).unwrap();
    assert_eq!(old.wide().collect::<Vec<_>>(), [address(8), address(16)]);
    assert_eq!(old.inverse().collect::<Vec<_>>(), [address(24)]);
    assert_eq!(old.narrow().collect::<Vec<_>>(), [address(32)]);
    assert_eq!(old.count(), 4);
    let new = relocations(&words(&[0, base + 8, 0, base + 32, base + 40])).unwrap();
    assert_eq!((new.wide().count(), new.inverse().count(), new.narrow().count()), (1, 0, 2));
}

#[test]
fn what_is_not_a_table_of_relocations_is_none() {
    let base = 0x8100_0000;
    for behind in [
        words(&[base, 0, base, 0, base]),
        words(&[0, base]),
        words(&[0, base, 0, base, 0, base, 0, base]),
        words(&[0, 0, 0]),
        words(&[0, base, 0, 1]),
        vec![0; 4096],
        [words(&[0, base, 0, base]), vec![1]].concat(),
    ] {
        assert_eq!(relocations(&behind), None);
    }
}
