use std::io::Write;

use super::*;
use crate::fixtures::{CONFIG, VERSION, bzimage, elf, module, tool, vmlinux};

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

fn unpacked(image: &[u8]) -> Result<(Facts, Vec<u8>), Error> {
    let mut out = tempfile::tempfile().unwrap();
    let facts = unpack(&file(image), &mut out)?;
    let mut content = Vec::new();
    out.seek(SeekFrom::Start(0)).unwrap();
    out.read_to_end(&mut content).unwrap();
    Ok((facts, content))
}

fn complaint(image: &[u8]) -> String {
    unpacked(image).unwrap_err().to_string()
}

#[test]
fn every_payload_that_kernels_are_packed_with_is_unpacked() {
    let kernel = vmlinux(VERSION, None);
    let packers: [(&str, &[&str]); 8] = [
        ("gzip", &["-9"]),
        ("bzip2", &["-9"]),
        ("xz", &["--format=lzma", "-9"]),
        ("xz", &["--check=crc32", "--x86", "--lzma2=dict=32MiB"]),
        ("zstd", &["-22", "--ultra"]),
        ("lz4", &["-l", "-9"]),
        ("lzop", &["-9"]),
        ("lzop", &["-1"]),
    ];
    for (program, arguments) in packers {
        let image = bzimage(&tool(program, arguments, &kernel), kernel.len());
        let (facts, content) = unpacked(&image).unwrap_or_else(|error| panic!("{program}: {error}"));
        assert_eq!(
            facts,
            Facts { version: VERSION.into(), memory_end: (16 + 1) << 20, relocations: 0 },
            "{program}"
        );
        assert!(content == kernel, "{program} {arguments:?}");
    }
}

#[test]
fn lz4_goes_on_over_its_blocks() {
    // 8 MiB is the size of a block: exactly so many, and some more.
    for size in [8 << 20, 16 << 20, 17_000_000] {
        let mut kernel = vmlinux(VERSION, None);
        kernel.resize(size, 7);
        let image = bzimage(&tool("lz4", &["-l", "-1"], &kernel), kernel.len());
        assert!(unpacked(&image).unwrap().1 == kernel, "{size}");
    }
}

#[test]
fn a_vmlinux_is_taken_as_it_is_or_compressed() {
    let kernel = vmlinux(VERSION, None);
    assert!(unpacked(&kernel).unwrap().1 == kernel);
    assert!(unpacked(&tool("zstd", &[], &kernel)).unwrap().1 == kernel);
    assert!(unpacked(&bzimage(&kernel, kernel.len())).unwrap().1.starts_with(&kernel));
}

#[test]
fn the_embedded_configuration_is_found() {
    let with = file(&vmlinux(VERSION, Some(CONFIG)));
    assert_eq!(embedded_config(&with).unwrap().unwrap(), CONFIG.as_bytes());
    assert_eq!(embedded_config(&file(&vmlinux(VERSION, None))).unwrap(), None);
}

#[test]
fn what_is_no_kernel_is_called_so() {
    assert_eq!(complaint(b""), "this is not a kernel: it is empty");
    assert!(complaint(b"#!/bin/sh\nexit 1\n").starts_with("this is not a kernel: neither a vmlinux"));
    assert!(complaint(&module(&["depends="])).contains("such as a kernel module"));
    assert!(complaint(&elf(2, 62, b"hello")).contains("without a \"Linux version\""));
    assert!(complaint(&tool("gzip", &[], &[b'x'; 99])).contains("what was unpacked is not an ELF file"));
    let mut program = vec![0; 1024];
    program[..2].copy_from_slice(b"MZ");
    assert!(complaint(&program).contains("without a Linux boot header"));
}

#[test]
fn other_architectures_are_named() {
    assert_eq!(complaint(&elf(2, 183, b"Linux version 6.1 ")), "this kernel is for arm64, not x86-64");
    assert_eq!(complaint(&elf(2, 243, b"")), "this kernel is for riscv64, not x86-64");
    let mut arm = vec![0; 1024];
    arm[..2].copy_from_slice(b"MZ");
    arm[56..60].copy_from_slice(b"ARM\x64");
    assert_eq!(complaint(&arm), "this kernel is for arm64, not x86-64");
    arm[56..60].copy_from_slice(&[0; 4]);
    arm[0x3c] = 0x80;
    arm[0x80..0x86].copy_from_slice(b"PE\0\0\x64\xaa");
    assert_eq!(complaint(&arm), "this kernel is for arm64, not x86-64");
    let mut small = bzimage(b"x", 1);
    small[0x236] = 0;
    assert_eq!(complaint(&small), "this kernel is for 32-bit x86, not x86-64");
    let mut big_endian = elf(2, 62, b"");
    big_endian[5] = 2;
    big_endian[18..20].copy_from_slice(&[0, 22]);
    assert_eq!(complaint(&big_endian), "this kernel is for s390x, not x86-64");
}

#[test]
fn a_damaged_image_is_refused() {
    let kernel = vmlinux(VERSION, None);
    let packers: [(&str, &[&str]); 7] = [
        ("gzip", &["-9"]),
        ("bzip2", &["-9"]),
        ("xz", &["-1"]),
        ("xz", &["--format=lzma", "-1"]),
        ("zstd", &["-3"]),
        ("lz4", &["-l", "-1"]),
        ("lzop", &["-1"]),
    ];
    for (program, arguments) in packers {
        let payload = tool(program, arguments, &kernel);
        let image = bzimage(&payload, kernel.len());
        assert!(complaint(&image[..image.len() / 2]).contains("its payload ends at byte"), "{program}");
        let cut = bzimage(&payload[..payload.len() / 2], kernel.len());
        let said = complaint(&cut);
        let is_told = ["cannot unpack the kernel: ", "this kernel is damaged: its payload unpacks to"];
        assert!(is_told.iter().any(|start| said.starts_with(start)), "{program}: {said}");
        // Any changed byte of the payload is an error, or where nothing else tells of it, no other size.
        let begin = image.len() - 100 - payload.len();
        for at in (begin + 16..image.len() - 100).step_by(payload.len() / 40) {
            let mut flipped = image.clone();
            flipped[at] ^= 0x10;
            match unpacked(&flipped) {
                Ok((_, content)) => {
                    let has_no_checksum = ["xz", "lz4"].contains(&program) && content.len() == kernel.len();
                    assert!(content == kernel || has_no_checksum, "{program} {at}");
                }
                Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
            }
        }
    }
    let payload = tool("lz4", &["-l", "-1"], &kernel);
    let said = complaint(&bzimage(&payload, kernel.len() + 1));
    assert!(
        said.contains(&format!("unpacks to {} bytes, and should to {}", kernel.len(), kernel.len() + 1)),
        "{said}"
    );
    let image = bzimage(b"not compressed by anything known", 1);
    assert!(complaint(&image).contains("its payload's compression is unknown"));
    assert!(complaint(&bzimage(&kernel, 1)[..0x220]).contains("boot header is cut off"));
    let mut old = bzimage(b"x", 1);
    old[0x206] = 6;
    assert!(complaint(&old).contains("older than 2.08"));
}

#[test]
fn a_segment_beyond_the_file_is_refused() {
    let mut kernel = vmlinux(VERSION, None);
    kernel[64 + 32..64 + 40].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(complaint(&kernel).contains("a segment of"));
    let mut kernel = vmlinux(VERSION, None);
    kernel[64 + 24..64 + 32].copy_from_slice(&(1_u64 << 60).to_le_bytes());
    assert!(complaint(&kernel).contains("ends beyond 4 GiB"));
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let mut out = tempfile::tempfile().unwrap();
    let error = copy(io::repeat(0), &mut out, 1 << 20).unwrap_err();
    assert_eq!(error.to_string(), "cannot unpack the kernel: the unpacked kernel exceeds the limit of 1 MiB");
    assert_eq!(out.metadata().unwrap().len(), 1 << 20);
}
