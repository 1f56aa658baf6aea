//! Packages of other distributions.

use std::path::Path;

use super::tests::Fixture;
use super::*;
use crate::config::ConfigSource;
use crate::fixtures::packages::{
    Listed, apk, arch, cpio, cpio_entry, header, hex, listed, rpm, rpm_6, rpm_of, rpm_without,
};
use crate::fixtures::{
    VERSION, bzimage, deb_for, files_tar, kernel_files, lay_out, module, tar, tool, vmlinux,
};

/// The kernel of [`kernel_files`] as Red Hat and Arch lay it out: all in `PREFIX/VERSION`.
fn in_modules(prefix: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = kernel_files();
    for (name, _) in &mut files {
        let place = format!("{prefix}/{VERSION}/");
        *name = name
            .replace(&format!("./lib/modules/{VERSION}/"), &place)
            .replace(&format!("./boot/vmlinuz-{VERSION}"), &format!("{place}vmlinuz"))
            .replace(&format!("./boot/config-{VERSION}"), &format!("{place}config"));
    }
    files.push((format!("{prefix}/{VERSION}/System.map"), b"0 T start".to_vec()));
    files.push((format!("{prefix}/{VERSION}/symvers.xz"), b"x".to_vec()));
    files
}

fn is_whole(kernel: &Kernel) {
    assert_eq!((kernel.version.as_str(), kernel.modules), (VERSION, 10));
    assert_eq!(kernel.config_source, ConfigSource::File);
    assert!(kernel.abilities.usable(crate::fixtures::MACHINE));
    assert!(!kernel.modules_directory().join("System.map").exists());
    assert!(!kernel.modules_directory().join("symvers.xz").exists());
}

#[test]
fn an_rpm_kernel_in_two_packages_of_any_compression() {
    for packer in [&["zstd", "-3"][..], &["xz", "-0"], &["gzip", "-1"]] {
        let fixture = Fixture::new();
        let (core, modules): (Vec<_>, Vec<_>) = in_modules("./lib/modules")
            .into_iter()
            .partition(|(name, _)| name.ends_with("vmlinuz") || name.ends_with("/config"));
        let pack = |files: &[_]| tool(packer[0], &packer[1..], &cpio(files));
        let core = fixture.source("core.rpm", &rpm("kernel-core", "x86_64", &pack(&core)));
        let content = rpm("kernel-modules-core", "x86_64", &pack(&modules));
        let modules = fixture.source("modules.rpm", &content);
        let kernel = fixture.add(&[&modules, &core]).unwrap();
        is_whole(&kernel);
        let source = &kernel.sources[0];
        assert_eq!((source.source.as_str(), source.format.as_str()), ("modules.rpm", "RPM package"));
        assert_eq!(source.package.as_deref(), Some("kernel-modules-core 6.1.0-200.fc41"));
        assert_eq!(source.sha256.as_deref(), Some(hex(&content).as_str()));
        assert_eq!(source.size, Some(content.len() as u64));
        assert!(source.signature.contains("key EEEEEEEEEEEEEEEE, not checked"), "{}", source.signature);
        // It is written down, too.
        assert_eq!(fixture.store.get(VERSION).unwrap().sources, kernel.sources);
    }
}

/// Where the payload has a number for each file, and all else is in the header.
#[test]
fn an_rpm_of_version_6() {
    let files = listed(&in_modules("./lib/modules"));
    let all: Vec<u32> = (0..files.len() as u32).collect();
    let fixture = Fixture::new();
    let kernel = fixture.add(&[&fixture.source("core.rpm", &rpm_6(&files, &all))]).unwrap();
    is_whole(&kernel);
    let signature = &kernel.sources[0].signature;
    assert_eq!(
        signature,
        "OpenPGP header signature of key EEEEEEEEEEEEEEEE, not checked: no keyring of its distribution here; \
         SHA-256 of header and payload checked"
    );
    // It is what a package of version 4 is.
    let payload = tool("gzip", &["-1"], &cpio(&in_modules("./lib/modules")));
    fixture.store.remove(VERSION).unwrap();
    let other = fixture.add(&[&fixture.source("old.rpm", &rpm("kernel-core", "x86_64", &payload))]).unwrap();
    assert_eq!((&other.identity, other.size), (&kernel.identity, kernel.size));

    let refuse = |change: &dyn Fn(&mut Vec<Listed>), numbers: &[u32], expected: &str| {
        let mut files = listed(&in_modules("./lib/modules"));
        change(&mut files);
        refused("x.rpm", &rpm_6(&files, numbers), expected);
    };
    refuse(&|_| (), &[99], "its payload has a file 99, which its header does not list");
    refuse(&|_| (), &[u32::MAX], "its payload has a file 4294967295, which its header does not list");
    refuse(&|files| files[3].path = "//etc/passwd".into(), &all, "it names /etc/passwd");
    refuse(&|files| files[3].path = "/lib/../x".into(), &all, "it names lib/../x");
    refuse(
        &|files| files[3].path = format!("/{}/x", "d".repeat(5000)),
        &all,
        "a file's name exceeds the limit",
    );
    let module = files.iter().position(|file| file.path.ends_with("/erofs.ko.gz")).unwrap();
    refuse(&|files| files[module].mode = 0o120_777, &all, "erofs.ko.gz is a link");
    // Two names of one file: the content comes with the last, and what is before it has none.
    refuse(&|files| files[module].inode = files[module + 1].inode, &all, "erofs.ko.gz is a link");
    let whole = rpm_6(&files, &all);
    for end in (1..12).map(|step| whole.len() * step / 12) {
        refused("x.rpm", &whole[..end], "cannot take a kernel from ");
    }
}

#[test]
fn arch_and_alpine_packages() {
    let fixture = Fixture::new();
    let content = arch("x86_64", &in_modules("usr/lib/modules"));
    let package = fixture.source("linux.pkg.tar.zst", &tool("zstd", &[], &content));
    let kernel = fixture.add(&[&package]).unwrap();
    is_whole(&kernel);
    assert_eq!(kernel.sources[0].package.as_deref(), Some("linux 6.1.arch1-1"));
    assert_eq!(kernel.sources[0].signature, "none: there is no .sig beside it");
    fixture.source("linux.pkg.tar.zst.sig", &[vec![0x88, 15, 3, 5, 0, 1, 2, 3, 4], vec![0xab; 8]].concat());
    let signature = Fixture::new().add(&[&package]).unwrap().sources[0].signature.clone();
    assert!(signature.contains("key ABABABABABABABAB, not checked"), "{signature}");

    let fixture = Fixture::new();
    let mut files = kernel_files();
    files[0].0 = "boot/vmlinuz-virt".into();
    files[1].0 = format!("boot/config-{VERSION}-virt");
    let package = fixture.source("linux-virt.apk", &apk("x86_64", &files_tar(&files), |_| ()));
    let kernel = fixture.add(&[&package]).unwrap();
    is_whole(&kernel);
    assert_eq!(kernel.sources[0].package.as_deref(), Some("linux-virt 6.1.0-r0"));
    let signature = &kernel.sources[0].signature;
    assert!(signature.starts_with("RSA signature of me@alpine.rsa.pub, not checked"), "{signature}");
}

#[test]
fn plain_archives_and_build_trees() {
    let fixture = Fixture::new();
    let archive = fixture.source("linux.tar.gz", &tool("gzip", &[], &files_tar(&kernel_files())));
    assert_eq!(fixture.add(&[&archive]).unwrap().sources[0].format, "tar archive");

    // A module of the directory kernel/ is not one below an installed kernel/.
    for order in ["fs/erofs/erofs.o\nkernel/trace/t.o\n", "kernel/fs/erofs/erofs.ko\nkernel/trace/t.ko\n"] {
        let fixture = Fixture::new();
        let tree = fixture.directory.path().join("linux");
        let kernel = vmlinux(VERSION, None);
        lay_out(
            &tree,
            &[
                ("arch/x86/boot/bzImage".into(), bzimage(&tool("gzip", &[], &kernel), kernel.len())),
                (".config".into(), crate::fixtures::CONFIG.as_bytes().to_vec()),
                ("include/config/kernel.release".into(), format!("{VERSION}\n").into_bytes()),
                ("modules.order".into(), order.as_bytes().to_vec()),
                ("modules.builtin".into(), b"kernel/fs/overlayfs/overlay.ko\n".to_vec()),
                ("fs/erofs/erofs.ko".into(), module(&["depends="])),
                ("kernel/trace/t.ko".into(), module(&["depends="])),
                ("fs/erofs/erofs.o".into(), b"object".to_vec()),
            ],
        );
        let kernel = fixture.add(&[&tree]).unwrap();
        assert_eq!((kernel.modules, kernel.sources[0].format.as_str()), (2, "kernel build tree"));
        assert!(kernel.modules_directory().join("kernel/fs/erofs/erofs.ko").is_file());
        assert!(kernel.modules_directory().join("kernel/kernel/trace/t.ko").is_file());
        lay_out(&tree, &[("modules.order".into(), b"../../etc/passwd.ko\n".to_vec())]);
        let complaint = Fixture::new().add(&[&tree]).unwrap_err().to_string();
        assert!(complaint.contains("it names ../../etc/passwd.ko"), "{complaint}");
    }
}

#[test]
fn packages_for_other_machines_are_refused() {
    let files = kernel_files();
    let payload = tool("gzip", &["-1"], &cpio(&files));
    for (architecture, content) in [
        ("arm64", deb_for("arm64", "data.tar", &files_tar(&files))),
        ("aarch64", rpm("kernel-core", "aarch64", &payload)),
        ("riscv64", arch("riscv64", &files)),
        ("armv7", apk("armv7", &files_tar(&files), |_| ())),
    ] {
        let fixture = Fixture::new();
        let complaint = fixture.add(&[&fixture.source("x", &content)]).unwrap_err().to_string();
        assert!(complaint.contains(&format!("is for {architecture}, not x86-64")), "{complaint}");
        assert_eq!(fixture.content(), [""; 0]);
    }
    let fixture = Fixture::new();
    let new = fixture.source("x.apk", b"ADB.pckg");
    assert!(fixture.add(&[&new]).unwrap_err().to_string().contains("version 3"));
}

/// A kernel of which too little is there, or too much, or something else.
fn refused(name: &str, content: &[u8], expected: &str) {
    let fixture = Fixture::new();
    let complaint = fixture.add(&[&fixture.source(name, content)]).expect_err(expected).to_string();
    assert!(complaint.contains(expected), "{expected}: {complaint}");
    assert!(!complaint.contains('\n'), "{complaint}");
    assert_eq!(fixture.content(), [""; 0], "{expected}");
}

#[test]
fn cut_packages_are_refused_at_every_place() {
    let files = kernel_files();
    let packages: [(&str, Vec<u8>); 3] = [
        ("x.rpm", rpm("kernel", "x86_64", &tool("zstd", &[], &cpio(&files)))),
        ("x.pkg.tar.xz", tool("xz", &["-0"], &arch("x86_64", &files))),
        ("x.apk", apk("x86_64", &files_tar(&files), |_| ())),
    ];
    for (name, content) in packages {
        let ends = (1..8).map(|step| content.len() * step / 8).chain([90, 100, 130, 400, content.len() - 1]);
        for end in ends {
            refused(name, &content[..end], "cannot take a kernel from ");
        }
    }
}

#[test]
fn only_digests_that_an_rpm_has_are_said_to_be_checked() {
    let payload = tool("gzip", &["-1"], &cpio(&kernel_files()));
    let [header_digest, payload_digest] = [273, 5092];
    for (without, expected) in [
        (&[][..], "; SHA-256 of header and payload checked"),
        (&[payload_digest], "; SHA-256 of header checked, its payload has none"),
        (&[header_digest], "; SHA-256 of payload checked, its header has none"),
        (&[header_digest, payload_digest], "; it has no SHA-256 to check"),
    ] {
        let content = rpm_without(without, "kernel-core", "x86_64", &payload);
        let fixture = Fixture::new();
        let kernel = fixture.add(&[&fixture.source("x.rpm", &content)]).unwrap();
        let signature = &kernel.sources[0].signature;
        assert!(signature.ends_with(expected), "{without:?}: {signature}");
    }
}

#[test]
fn contents_that_do_not_have_their_digests_are_refused() {
    let payload = tool("gzip", &["-1"], &cpio(&kernel_files()));
    let good = rpm("kernel-core", "x86_64", &payload);
    let mut other = good.clone();
    let at = other.len() - payload.len() + 5;
    // The time in gzip's header: nothing else checks it.
    other[at] ^= 1;
    refused("x.rpm", &other, "its payload does not have the SHA-256 that it says");
    let mut other = good.clone();
    let at = other.windows(8).position(|bytes| bytes == b"200.fc41").unwrap();
    other[at] = b'9';
    refused("x.rpm", &other, "its header does not have the SHA-256 that it says");
    let damaged = apk("x86_64", &files_tar(&kernel_files()), |data| data[5] ^= 1);
    refused("x.apk", &damaged, "do not have the SHA-256");
}

#[test]
fn hostile_names_and_links_are_refused_in_every_format() {
    let module = module(&["depends="]);
    for name in [
        "../x",
        "/boot/vmlinuz-1",
        "lib/modules/../../x",
        "./boot/../../vmlinuz-1",
        "lib/modules/6/\u{1b}[2J\n.ko",
        // To a terminal that knows eight bits, the same.
        "lib/modules/6/\u{9b}2J.ko",
    ] {
        let files = [(name.to_owned(), module.clone())];
        refused("x.rpm", &rpm("kernel", "x86_64", &tool("gzip", &[], &cpio(&files))), "it names ");
        refused("x.pkg.tar.zst", &tool("zstd", &[], &arch("x86_64", &files)), "it names ");
        refused("x.apk", &apk("x86_64", &files_tar(&files), |_| ()), "it names ");
    }
    let place = format!("./lib/modules/{VERSION}/kernel/a.ko");
    for (mode, links, content) in [(0o120_777, 1, &b"/etc/shadow"[..]), (0o100_644, 2, b"")] {
        let mut archive = Vec::new();
        cpio_entry(&mut archive, &place, mode, links, content);
        cpio_entry(&mut archive, "TRAILER!!!", 0, 1, b"");
        refused("x.rpm", &rpm("kernel", "x86_64", &tool("gzip", &[], &archive)), "a.ko is a link");
    }
    // A name in a POSIX header, which goes before the other one.
    let mut extended = tar(&[("x", crate::fixtures::Entry::File(b"18 path=../../etc\n"))]);
    extended[156] = b'x';
    let sum: u32 = extended[..512]
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
        .sum();
    extended[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    extended.truncate(1024);
    extended.extend(tar(&[("innocent", crate::fixtures::Entry::File(b"x"))]));
    refused("x.tar", &extended, "it names ../../etc");
}

#[test]
fn a_path_of_a_thousand_directories_is_refused_and_leaves_nothing() {
    let deep = format!("./lib/modules/{VERSION}/{}a.ko", "d/".repeat(1_500));
    let files = [(deep, module(&["depends="]))];
    refused(
        "x.rpm",
        &rpm("kernel", "x86_64", &tool("gzip", &[], &cpio(&files))),
        "the depth of a module's path",
    );
    // Of an image's files too, names come to messages.
    let fixture = Fixture::new();
    let root = fixture.directory.path().join("root");
    for name in ["lib/modules/6.1\n/a.ko", "boot/vmlinuz-6.1\u{9b}2J", "boot/vmlinuz-6.2\nx"] {
        lay_out(&root, &[(name.into(), b"x".to_vec())]);
    }
    let complaint = fixture.add(&[&root]).unwrap_err().to_string();
    assert!(complaint.contains("it has neither boot/vmlinuz-VERSION nor"), "{complaint}");
    assert_eq!(fixture.content(), [""; 0]);
}

#[test]
fn headers_that_lie_are_refused() {
    let payload = tool("gzip", &[], &cpio(&[]));
    let numbers = |records: u32, store: u32| {
        let mut header = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
        header.extend(records.to_be_bytes());
        header.extend(store.to_be_bytes());
        header
    };
    let none = header(&[]);
    refused(
        "x.rpm",
        &rpm_of(&numbers(u32::MAX, u32::MAX), &none, &payload),
        "a header of 4294967295 records",
    );
    refused("x.rpm", &rpm_of(&numbers(60_000, 60 << 20), &none, &payload), "it is cut off");
    refused("x.rpm", &rpm_of(&none, &none, &payload), "it has no name");
    refused("x.rpm", &rpm_of(&none, b"no header at all", &payload), "a header of it is not one");
    // A name that lies outside of the store.
    let mut outside = header(&[(1000, 6, b"kernel\0")]);
    outside[16 + 8..16 + 12].copy_from_slice(&u32::MAX.to_be_bytes());
    refused("x.rpm", &rpm_of(&none, &outside, &payload), "it has no name");
    refused("x.rpm", &rpm_of(&none, &header(&[(1000, 6, b"endless")]), &payload), "it has no name");
    // The payload's: a name of 4 GiB, digits that are none, a file of more than there is.
    let mut archive = cpio(&[("boot/vmlinuz-1".to_owned(), b"x".to_vec())]);
    archive[94..102].copy_from_slice(b"FFFFFFFF");
    refused(
        "x.rpm",
        &rpm("kernel", "x86_64", &tool("gzip", &[], &archive)),
        "a file's name has 4294967295 bytes",
    );
    archive[94..102].copy_from_slice(b"+0000001");
    refused("x.rpm", &rpm("kernel", "x86_64", &tool("gzip", &[], &archive)), "a file's header is not one");
    let mut archive = cpio(&[(place("a.ko"), b"x".to_vec())]);
    archive[54..62].copy_from_slice(b"0FFFFFFF");
    refused("x.rpm", &rpm("kernel", "x86_64", &tool("gzip", &[], &archive)), "it is cut off");
}

#[test]
fn files_that_cannot_be_side_by_side_are_refused() {
    let file = |name: &str| (place(name), b"x".to_vec());
    for (second, expected) in [("a.ko", "it has modules/kernel/a.ko twice"), ("a.ko/b.ko", "is below a file")]
    {
        let files = [file("a.ko"), file(second)];
        refused("x.deb", &deb_for("amd64", "data.tar", &files_tar(&files)), expected);
        refused("x.rpm", &rpm("kernel", "x86_64", &tool("gzip", &[], &cpio(&files))), expected);
    }
}

/// Of which nobody knows what it is for.
#[test]
fn a_debian_package_without_a_control_file_is_none() {
    let whole = deb_for("amd64", "data.tar", &files_tar(&kernel_files()));
    let member = |name: &str| whole.windows(name.len()).position(|bytes| bytes == name.as_bytes()).unwrap();
    let [control, data] = ["control.tar", "data.tar"].map(member);
    refused("x.deb", &[&whole[..control], &whole[data..]].concat(), "it has no control.tar");
}

fn place(module: &str) -> String {
    format!("./lib/modules/{VERSION}/kernel/{module}")
}

#[test]
fn bombs_are_stopped() {
    let huge = vec![0; (256 << 20) + 1];
    let files = [(place("a.ko"), huge)];
    refused(
        "x.rpm",
        &rpm("kernel", "x86_64", &tool("zstd", &["-1"], &cpio(&files))),
        "exceeds the limit of 256 MiB",
    );
    let about = vec![b'#'; 2 << 20];
    let tar = tar(&[(".PKGINFO", crate::fixtures::Entry::File(&about))]);
    refused("x.pkg.tar.zst", &tool("zstd", &["-1"], &tar), "exceeds the limit of 1 MiB");
}

#[test]
fn one_kernel_in_two_places_is_one() {
    let fixture = Fixture::new();
    let mut files = in_modules("lib/modules");
    let image = files[0].1.clone();
    files.push((format!("boot/vmlinuz-{VERSION}"), image));
    is_whole(&fixture.add(&[&fixture.source("a.tar", &files_tar(&files))]).unwrap());
    files.last_mut().unwrap().1.push(0);
    refused("b.tar", &files_tar(&files), "it has a second kernel image");
}

/// As `make tar-pkg` leaves it, and `make dir-pkg`.
#[test]
fn the_image_for_boot_loaders_goes_before_the_one_with_debugging_information() {
    let mut files = kernel_files();
    let debugging = [vmlinux(VERSION, None), vec![b'd'; 100_000]].concat();
    let other = |version: &str| (format!("./boot/vmlinux-{version}"), debugging.clone());
    let expected = {
        let fixture = Fixture::new();
        fixture.add(&[&fixture.source("a.tar", &files_tar(&files))]).unwrap()
    };
    let vmlinux_last = [files.clone(), vec![other(VERSION)]].concat();
    let vmlinux_first = [vec![other(VERSION)], files.clone()].concat();
    for files in [&vmlinux_last, &vmlinux_first] {
        let fixture = Fixture::new();
        let tar = fixture.source("a.tar", &files_tar(files));
        let root = fixture.directory.path().join("root");
        lay_out(&root, files);
        for source in [&tar, &root] {
            let kernel = fixture.add(&[source]).unwrap();
            is_whole(&kernel);
            assert_eq!((&kernel.identity, kernel.size), (&expected.identity, expected.size));
            fixture.store.remove(VERSION).unwrap();
        }
    }
    // That of another version is another kernel.
    files.push(other("6.1.1"));
    refused("b.tar", &files_tar(&files), "it has a second kernel image");
}

#[test]
fn a_package_without_modules_and_configuration_is_half_a_kernel() {
    let (mut image, mut others): (Vec<_>, Vec<_>) =
        kernel_files().into_iter().partition(|(name, _)| name.contains("vmlinuz"));
    let deb = |files: &[_]| deb_for("amd64", "data.tar", &files_tar(files));
    refused("image.deb", &deb(&image), "neither modules nor a configuration");
    refused(
        "image.rpm",
        &rpm("k", "x86_64", &tool("gzip", &[], &cpio(&image))),
        "neither modules nor a configuration",
    );
    let fixture = Fixture::new();
    let [image_deb, others_deb] = [("image.deb", &image), ("others.deb", &others)]
        .map(|(name, files)| fixture.source(name, &deb(files)));
    is_whole(&fixture.add(&[&image_deb, &others_deb]).unwrap());
    fixture.store.remove(VERSION).unwrap();
    // What has no modules says so in its configuration.
    let config = others.iter().position(|(name, _)| name.contains("config-")).unwrap();
    image.push(others.swap_remove(config));
    assert_eq!(fixture.add(&[&fixture.source("own.deb", &deb(&image))]).unwrap().modules, 0);
}

#[test]
fn packages_for_newer_processors_are_for_x86_64() {
    let files = kernel_files();
    for level in ["x86_64_v2", "x86_64_v3", "x86_64_v4"] {
        let fixture = Fixture::new();
        let rpm = fixture.source("x.rpm", &rpm("k", level, &tool("gzip", &["-1"], &cpio(&files))));
        let arch = fixture.source("x.pkg.tar", &arch(level, &files));
        is_whole(&fixture.add(&[&rpm]).unwrap());
        is_whole(&fixture.add(&[&arch]).unwrap());
    }
    refused("x.deb", &deb_for("x86_64_v3", "data.tar", &files_tar(&files)), "is for x86_64_v3, not x86-64");
}

/// Arch's headers are a real directory beside the modules.
#[test]
fn what_no_machine_needs_is_not_copied_and_makes_no_other_kernel() {
    let files = in_modules("usr/lib/modules");
    let fixture = Fixture::new();
    let root = fixture.directory.path().join("root");
    lay_out(&root, &files);
    let plain = fixture.add(&[&root]).unwrap();
    fixture.store.remove(VERSION).unwrap();
    let more = [
        "build/include/linux/a.h",
        "build/vmlinux",
        "build/a.ko",
        "modules.dep",
        "vdso/vdso64.so",
        "kernel/a.txt",
    ];
    let more = more.map(|name| (format!("usr/lib/modules/{VERSION}/{name}"), b"x".to_vec()));
    lay_out(&root, &more);
    let tar = fixture.source("all.tar", &files_tar(&[&files[..], &more].concat()));
    for source in [&root, &tar] {
        let kernel = fixture.add(&[source]).unwrap();
        is_whole(&kernel);
        assert_eq!((&kernel.identity, kernel.size), (&plain.identity, plain.size));
        assert!(!kernel.modules_directory().join("build").exists());
        fixture.store.remove(VERSION).unwrap();
    }
}

#[test]
fn a_newer_kernel_takes_the_name_when_it_may() {
    let fixture = Fixture::new();
    let add = |content: &[u8], replace| {
        let source = fixture.source(&format!("{}", content.len()), content);
        let addition = Addition { name: Some("debian:6.1"), replace, ..Addition::default() };
        fixture.store.add(&[Path::new(&source).into()], &addition, &|_| ())
    };
    add(&vmlinux("6.1.1", None), true).unwrap();
    assert!(matches!(add(&vmlinux("6.1.22", None), false), Err(Error::Exists(_))));
    assert_eq!(fixture.store.get("debian:6.1").unwrap().version, "6.1.1");
    add(&vmlinux("6.1.22", None), true).unwrap();
    assert_eq!(fixture.store.get("debian:6.1").unwrap().version, "6.1.22");
    assert_eq!(fixture.store.default_name().unwrap().as_deref(), Some("debian:6.1"));
}

/// Whatever is wrong with a package, it is told in one line, and quickly.
#[test]
fn packages_with_changed_bytes_harm_nobody() {
    let small = [
        (place("a.ko"), module(&["depends="])),
        (format!("./boot/config-{VERSION}"), crate::fixtures::CONFIG.as_bytes().to_vec()),
    ];
    let small = &small[..];
    let payload = tool("gzip", &["-1"], &cpio(small));
    let packages = [
        rpm("kernel-core", "x86_64", &payload),
        // Without digests, so that what is changed in the payload gets to its reader.
        rpm_of(
            &header(&[]),
            &header(&[(1000, 6, b"a\0"), (1001, 6, b"1\0"), (1002, 6, b"1\0"), (1022, 6, b"noarch\0")]),
            &cpio(small),
        ),
        apk("x86_64", &files_tar(small), |_| ()),
        arch("x86_64", small),
        deb_for("amd64", "data.tar", &files_tar(small)),
    ];
    let directory = tempfile::tempdir().unwrap();
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for (number, package) in packages.iter().enumerate() {
        for round in 0..400 {
            let mut changed = package.clone();
            for _ in 0..=random(3) {
                let at = random(changed.len());
                changed[at] = [0, 0xff, 0x7f, b'9', random(256) as u8][random(5)];
            }
            if random(4) == 0 {
                changed.truncate(random(changed.len()));
            }
            let path = directory.path().join("package");
            fs::write(&path, &changed).unwrap();
            let to = directory.path().join(format!("{number}-{round}"));
            fs::create_dir(&to).unwrap();
            if let Err(error) = source::collect(&path.clone().into(), &mut Collection::new(&to)) {
                let shown = error.to_string();
                assert!(!shown.contains('\n') && shown.len() < 1000, "{shown:?}");
            }
        }
    }
}
