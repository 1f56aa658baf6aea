//! Kernels are added, inspected, chosen and removed.

use std::fs;
use std::path::PathBuf;

use tests::{KERNEL, OWN_KERNEL, setting, vmrun};

#[test]
fn inspect_says_what_a_kernel_can_do() {
    let seen = vmrun(["kernel", "inspect", KERNEL]).run().succeeds();
    assert!(seen.value("version").starts_with("6.1."));
    assert!(seen.value("memory").contains("MiB"));
    for ability in ["virtio-mmio", "virtio-blk", "virtio-pmem + DAX", "EROFS", "ext4", "overlayfs", "vsock"] {
        let text = seen.text();
        let line = text
            .lines()
            .find(|line| line.starts_with(ability))
            .unwrap_or_else(|| panic!("{ability}: {text}"));
        assert!(line.contains("module") || line.contains("built in"), "{line}");
    }
}

/// A bare vmlinux is a kernel too; what it cannot do without modules is known.
#[test]
fn a_kernel_comes_and_goes() {
    let home = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| vmrun(words).home(home.path()).run();
    let vmlinux = PathBuf::from(setting("VMRUN_HOME")).join("kernels").join(KERNEL).join("vmlinux");
    run(&["kernel", "add", vmlinux.to_str().unwrap(), "--name", "bare"]).succeeds().says(&["bare"]);
    run(&["kernel", "add", vmlinux.to_str().unwrap(), "--name", "other"]).succeeds();
    assert_eq!(run(&["kernel", "ls", "-q"]).succeeds().text(), "bare\nother\n");
    run(&["kernel", "default", "other"]).succeeds();
    let listed = run(&["kernel", "ls"]).succeeds().text();
    assert!(listed.lines().any(|line| line.starts_with("other") && line.ends_with('*')), "{listed}");
    run(&["kernel", "rm", "bare", "other"]).succeeds();
    assert_eq!(run(&["kernel", "ls", "-q"]).succeeds().text(), "");
    run(&["kernel", "inspect", "bare"]).is_refused(&["bare"]);
}

/// QEMU starts a kernel in a way that came with Linux 5.0: an older one would stand still without a word.
#[test]
fn an_emulated_host_takes_no_kernel_that_cannot_start_there() {
    let home = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| vmrun(words).home(home.path()).run();
    let vmlinux = PathBuf::from(setting("VMRUN_HOME")).join("kernels").join(KERNEL).join("vmlinux");
    let mut old = fs::read(vmlinux).unwrap();
    let version = b"Linux version 6.1.";
    let places: Vec<_> = (0..old.len()).filter(|at| old[*at..].starts_with(version)).collect();
    assert!(!places.is_empty());
    for at in places {
        old[at + version.len() - 4] = b'4';
    }
    let file = home.path().join("old");
    fs::write(&file, old).unwrap();
    run(&["kernel", "add", file.to_str().unwrap(), "--name", "old"]).succeeds();
    assert!(run(&["kernel", "inspect", "old"]).succeeds().value("version").starts_with("4.1."));
    run(&["emulate", "--kernel", "old", "--", "true"]).is_refused(&["old", "5.0"]);
    run(&["emulate", "--", "true"]).is_refused(&["no stored kernel can boot an emulated host"]);
}

#[test]
fn what_is_no_kernel_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("vmlinuz");
    let refused = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        vmrun(["kernel", "add", file.to_str().unwrap()]).home(home.path()).run().is_refused(&["vmlinuz"])
    };
    refused(b"");
    refused(b"#!/bin/sh\necho no kernel\n");
    refused(&[0xff; 70_000]);
    // A program is an ELF file, and no kernel.
    let program = fs::read("/bin/busybox").unwrap();
    refused(&program);
    let add = |source: &str| vmrun(["kernel", "add", source]).home(home.path()).run();
    add("debian:6.12").is_refused(&["vmrun kernel pull debian:6.12"]);
    add("oci:").is_refused(&["oci: is to be followed"]);
    vmrun(["kernel", "add", "/no/such/file"]).home(home.path()).run().is_refused(&["/no/such/file"]);
    assert_eq!(vmrun(["kernel", "ls", "-q"]).home(home.path()).run().succeeds().text(), "");
}

/// Before anything is downloaded or built.
#[test]
fn a_build_of_what_cannot_be_built_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("mine.config");
    fs::write(&file, "CONFIG_TUN=y\nTUN=m\n").unwrap();
    let build = |words: &[&str]| {
        let words: Vec<_> = ["kernel", "build"].iter().chain(words).copied().collect();
        vmrun(words).home(home.path()).run()
    };
    build(&["--config", file.to_str().unwrap()]).is_refused(&["mine.config:2", "CONFIG_NAME=value"]);
    build(&["--config", "/no/such/file"]).is_refused(&["/no/such/file"]);
    build(&["--source", "/no/such/source"]).is_refused(&["/no/such/source", "linux-source-6.12"]);
    build(&["--source", home.path().to_str().unwrap()]).is_refused(&["not a kernel's source", "Makefile"]);
    build(&["--mirror", "http://127.0.0.1:1/debian"]).is_refused(&["linux-source-6.12", "nothing answers"]);
    build(&["--keyring", "/no/such"]).is_refused(&["linux-source-6.12", "debian-archive-keyring"]);
    build(&["--name", "../x"]).is_refused(&["../x", "name"]);
}

/// What was built says of itself what it can do, and that is all that machines ask for; it is not built twice.
#[test]
fn our_own_kernel_can_do_everything() {
    let inspected = vmrun(["kernel", "inspect", OWN_KERNEL]).run().succeeds();
    assert!(inspected.value("version").ends_with("-vmrun"), "{}", inspected.text());
    assert_eq!(inspected.value("modules"), "0");
    assert_eq!(inspected.value("configuration"), "IKCONFIG");
    for line in inspected.text().lines() {
        let wanted = line.starts_with("KVM (AMD)") && line.contains("absent (CONFIG_KVM)");
        assert!(wanted || !line.contains("absent") && !line.ends_with("module"), "{line}");
    }
    let home = tempfile::tempdir().unwrap();
    let again = vmrun(["kernel", "build", "--name", "again"]).home(home.path()).run().succeeds();
    assert!(again.stderr.contains("has been built with this configuration before"), "{}", again.stderr);
    assert_eq!(again.text(), "again\n");
}
