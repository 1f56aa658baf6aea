//! Small kernels, modules and packages for tests, compressed by the tools that distributions use.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

pub const VERSION: &str = "6.1.0-test-amd64";

/// The options that a machine's and an emulated host's kernel have, all as modules if possible.
pub const CONFIG: &str = "# Linux/x86 6.1.0 Kernel Configuration\nCONFIG_ACPI=y\nCONFIG_FS_DAX=y\n\
     CONFIG_ZONE_DEVICE=y\nCONFIG_VIRTIO_MMIO=m\nCONFIG_VIRTIO_BLK=m\nCONFIG_EROFS_FS=m\n\
     CONFIG_OVERLAY_FS=y\nCONFIG_VSOCKETS=m\nCONFIG_VIRTIO_VSOCKETS=m\nCONFIG_EXT4_FS=m\n\
     CONFIG_VIRTIO_BALLOON=m\nCONFIG_PAGE_REPORTING=y\n";

/// An x86-64 ELF with one segment at 16 MiB that holds `content`, 1 MiB long in memory.
pub fn elf(kind: u16, machine: u16, content: &[u8]) -> Vec<u8> {
    const OFFSET: u64 = 0x1000;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend(kind.to_le_bytes());
    elf.extend(machine.to_le_bytes());
    elf.extend(1_u32.to_le_bytes());
    for field in [0x100_0000_u64, 64, 0] {
        elf.extend(field.to_le_bytes());
    }
    elf.extend(0_u32.to_le_bytes());
    for field in [64_u16, 56, 1, 64, 0, 0] {
        elf.extend(field.to_le_bytes());
    }
    elf.extend(1_u32.to_le_bytes());
    elf.extend(5_u32.to_le_bytes());
    let size = content.len() as u64;
    for field in [OFFSET, 0xffff_ffff_8100_0000, 0x100_0000, size, size.max(1 << 20), 0x1000] {
        elf.extend(field.to_le_bytes());
    }
    elf.resize(OFFSET as usize, 0);
    elf.extend_from_slice(content);
    elf
}

/// A vmlinux of `version`, with or without an embedded configuration. Its content compresses, but
/// not to nothing.
pub fn vmlinux(version: &str, config: Option<&str>) -> Vec<u8> {
    let mut content = Vec::new();
    let mut state = 1_u32;
    while content.len() < 300_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        content.extend((state >> 20).to_le_bytes());
    }
    content.extend(b"%s version %s Linux version %s Linux version ");
    content.extend(version.as_bytes());
    content.extend(b" (debian-kernel@lists.debian.org) #1 SMP\0");
    if let Some(config) = config {
        content.extend(b"IKCFG_ST");
        content.extend(tool("gzip", &["-9"], config.as_bytes()));
        content.extend(b"IKCFG_ED");
    }
    elf(2, 62, &content)
}

/// A bzImage with this payload; everything but gzip has its unpacked size appended.
pub fn bzimage(payload: &[u8], unpacked: usize) -> Vec<u8> {
    const SETUP_SECTORS: u8 = 3;
    const PAYLOAD_OFFSET: u32 = 0x2a0;
    let mut payload = payload.to_vec();
    if !payload.starts_with(&[0x1f, 0x8b]) {
        payload.extend((unpacked as u32).to_le_bytes());
    }
    let begin = (usize::from(SETUP_SECTORS) + 1) * 512;
    let mut image = vec![0x90; begin + PAYLOAD_OFFSET as usize];
    image[..2].copy_from_slice(b"MZ");
    image[0x1f1] = SETUP_SECTORS;
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    image[0x236..0x238].copy_from_slice(&1_u16.to_le_bytes());
    image[0x248..0x24c].copy_from_slice(&PAYLOAD_OFFSET.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image.extend(payload);
    image.extend([0xcc; 100]);
    image
}

/// A kernel module with these `.modinfo` records.
pub fn module(records: &[&str]) -> Vec<u8> {
    const NAMES: &[u8] = b"\0.modinfo\0.shstrtab\0";
    let modinfo: Vec<u8> = records.iter().flat_map(|record| [record.as_bytes(), b"\0"].concat()).collect();
    let mut elf = elf(1, 62, &[]);
    elf[56..58].copy_from_slice(&0_u16.to_le_bytes());
    let modinfo_offset = elf.len();
    elf.extend(&modinfo);
    let names_offset = elf.len();
    elf.extend(NAMES);
    elf.resize(elf.len().next_multiple_of(8), 0);
    let sections_offset = elf.len() as u64;
    let sections = [(0, 0, 0, 0), (1, 1, modinfo_offset, modinfo.len()), (10, 3, names_offset, NAMES.len())];
    for (name, kind, offset, size) in sections {
        elf.extend(u32::to_le_bytes(name));
        elf.extend(u32::to_le_bytes(kind));
        for field in [0, 0, offset as u64, size as u64] {
            elf.extend(field.to_le_bytes());
        }
        elf.extend([0; 24]);
    }
    elf[40..48].copy_from_slice(&sections_offset.to_le_bytes());
    elf[60..62].copy_from_slice(&3_u16.to_le_bytes());
    elf[62..64].copy_from_slice(&2_u16.to_le_bytes());
    elf
}

/// What a tar entry is.
pub enum Entry<'a> {
    File(&'a [u8]),
    Link(&'a str),
    HardLink(&'a str),
}

/// A tar archive; names are written as they are, however bad.
pub fn tar(entries: &[(&str, Entry)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, entry) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        let (kind, content, target) = match entry {
            Entry::File(content) => (tar::EntryType::Regular, *content, ""),
            Entry::Link(target) => (tar::EntryType::Symlink, &[][..], *target),
            Entry::HardLink(target) => (tar::EntryType::Link, &[][..], *target),
        };
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        let raw = header.as_gnu_mut().unwrap();
        if name.len() > raw.name.len() {
            raw.name[..13].copy_from_slice(b"././@LongLink");
            raw.typeflag = [b'L'];
            header.set_size(name.len() as u64 + 1);
            header.set_cksum();
            tar.append(&header, [name.as_bytes(), b"\0"].concat().as_slice()).unwrap();
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
        }
        let raw = header.as_gnu_mut().unwrap();
        raw.name = [0; 100];
        let short = &name.as_bytes()[..name.len().min(100)];
        raw.name[..short.len()].copy_from_slice(short);
        raw.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        tar.append(&header, content).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A Debian package around a data member.
pub fn deb(data_name: &str, data: &[u8]) -> Vec<u8> {
    deb_for("amd64", data_name, data)
}

pub fn deb_for(architecture: &str, data_name: &str, data: &[u8]) -> Vec<u8> {
    let control = format!("Package: linux-image-test\nVersion: 6.1.9-1\nArchitecture: {architecture}\n");
    let control = tool("gzip", &[], &tar(&[("./control", Entry::File(control.as_bytes()))]));
    let mut deb = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("control.tar.gz", &control), (data_name, data)]
    {
        let size = content.len();
        writeln!(deb, "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`", 0, 0, 0, 100_644).unwrap();
        deb.extend_from_slice(content);
        if size % 2 == 1 {
            deb.push(b'\n');
        }
    }
    deb
}

/// The files of a kernel package: a kernel, its configuration and modules that depend on each other.
pub fn kernel_files() -> Vec<(String, Vec<u8>)> {
    let kernel = vmlinux(VERSION, None);
    let in_modules = |path: &str| format!("./lib/modules/{VERSION}/{path}");
    vec![
        (format!("./boot/vmlinuz-{VERSION}"), bzimage(&tool("gzip", &["-9"], &kernel), kernel.len())),
        (format!("./boot/config-{VERSION}"), CONFIG.as_bytes().to_vec()),
        (
            in_modules("modules.builtin"),
            b"kernel/fs/overlayfs/overlay.ko\nkernel/drivers/virtio/virtio.ko\n".to_vec(),
        ),
        (in_modules("modules.order"), b"kernel/fs/erofs/erofs.ko\n".to_vec()),
        (
            in_modules("kernel/drivers/virtio/virtio_mmio.ko"),
            module(&["license=GPL", "depends=virtio,virtio_ring", "alias=acpi*:LNRO0005:*"]),
        ),
        (in_modules("kernel/drivers/virtio/virtio_balloon.ko"), module(&["depends=virtio_ring,virtio"])),
        (in_modules("kernel/drivers/virtio/virtio_ring.ko.xz"), tool("xz", &["-9"], &module(&["depends="]))),
        (
            in_modules("kernel/drivers/block/virtio_blk.ko.zst"),
            tool("zstd", &[], &module(&["depends=virtio_ring"])),
        ),
        (in_modules("kernel/fs/erofs/erofs.ko.gz"), tool("gzip", &[], &module(&["depends=libcrc32c"]))),
        (in_modules("kernel/lib/libcrc32c.ko"), module(&["softdep=pre: crc32c", "depends="])),
        (
            in_modules("kernel/arch/x86/crypto/crc32c-intel.ko"),
            module(&["alias=crypto-crc32c", "alias=crc32c", "depends="]),
        ),
        (in_modules("kernel/crypto/crc32c_generic.ko"), module(&["alias=crypto-crc32c", "depends="])),
        (in_modules("kernel/net/vmw_vsock/vsock.ko"), module(&["depends="])),
        (
            in_modules(&format!("kernel/net/{}/vmw_vsock_virtio_transport.ko", "long".repeat(20))),
            module(&["depends=virtio,vsock,virtio_ring"]),
        ),
    ]
}

/// A package of [`kernel_files`], its data packed by `tool`.
pub fn kernel_deb() -> Vec<u8> {
    deb("data.tar.xz", &tool("xz", &["-1"], &files_tar(&kernel_files())))
}

pub fn files_tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), Entry::File(content))).collect();
    tar(&entries)
}

/// Writes files below `root`.
pub fn lay_out(root: &Path, files: &[(String, Vec<u8>)]) {
    for (name, content) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

/// What `program` makes of `input`.
pub fn tool(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program} failed");
    output.stdout
}
