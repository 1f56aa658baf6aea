//! Kernels in the packages of other distributions, which their packers have made of Debian's (scripts/repack-kernel),
//! and in images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{KERNEL, setting, vmrun};

fn package(name: &str) -> String {
    let path = PathBuf::from(setting("VMRUN_CACHE")).join("tests/foreign").join(name);
    path.to_str().unwrap().to_owned()
}

/// Adds the packages to a store of their own, and has the kernel inspected.
fn added(packages: &[&str]) -> tests::Outcome {
    let home = tempfile::tempdir().unwrap();
    let mut words = vec!["kernel".to_owned(), "add".to_owned(), "--name".to_owned(), "it".to_owned()];
    words.extend(packages.iter().map(|name| package(name)));
    vmrun(&words).home(home.path()).run().succeeds().says(&["it"]);
    vmrun(["kernel", "inspect", "it"]).home(home.path()).run().succeeds()
}

#[test]
fn each_distributions_packages_become_the_same_kernel() {
    let version = vmrun(["kernel", "inspect", KERNEL]).run().succeeds().value("version");
    for (packages, facts) in [
        (
            &["kernel-core.rpm", "kernel-modules-core.rpm"][..],
            &[
                "RPM package",
                "kernel-core 6.1.",
                "OpenPGP header signature of key ",
                "SHA-256 of header and payload",
            ][..],
        ),
        (&["kernel-modules-core-xz.rpm", "kernel-core-xz.rpm"], &["RPM package", "none; SHA-256 of header"]),
        (&["kernel-core-gzip.rpm", "kernel-modules-core-gzip.rpm"], &["RPM package"]),
        (
            &["linux.pkg.tar.zst"],
            &["Arch package", "linux 6.1.", ".arch1-1", "detached OpenPGP signature of key ", "not checked"],
        ),
        (&["linux.pkg.tar.xz"], &["Arch package", "none: there is no .sig"]),
        (&["linux-virt.apk"], &["Alpine package", "RSA signature of alpine-devel@lists", "datahash checked"]),
    ] {
        let seen = added(packages);
        assert_eq!(seen.value("version"), version, "{packages:?}");
        let modules = seen.value("modules");
        let (count, _) = modules.split_once(", on a disk of ").unwrap();
        assert!(count.parse::<u32>().unwrap() > 100, "{packages:?}");
        let seen = seen.says(facts).says(&["SHA-256 "]);
        for ability in ["virtio-blk", "EROFS", "vsock"] {
            let text = seen.text();
            let line = text.lines().find(|line| line.starts_with(ability)).unwrap();
            assert!(line.contains("module") || line.contains("built in"), "{packages:?}: {line}");
        }
    }
}

#[test]
fn damaged_and_foreign_packages_leave_nothing() {
    let home = tempfile::tempdir().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let refused = |name: &str, content: &[u8], words: &[&str]| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        vmrun(["kernel", "add", path.to_str().unwrap()]).home(home.path()).run().is_refused(words);
    };
    for name in ["kernel-core.rpm", "linux.pkg.tar.zst", "linux-virt.apk"] {
        let content = fs::read(package(name)).unwrap();
        refused(name, &content[..content.len() / 2], &[name]);
        let mut changed = content.clone();
        let at = changed.len() * 2 / 3;
        changed[at] ^= 0x10;
        refused(name, &changed, &[name]);
    }
    // The word is in the header of the package and in nothing else.
    let mut other = fs::read(package("kernel-core-gzip.rpm")).unwrap();
    let at = other.windows(7).position(|bytes| bytes == b"x86_64\0").unwrap();
    other[at..at + 6].copy_from_slice(b"mips64");
    refused("mips.rpm", &other, &["mips64", "not x86-64"]);
    assert_eq!(vmrun(["kernel", "ls", "-q"]).home(home.path()).run().succeeds().text(), "");
    let left: Vec<_> = fs::read_dir(home.path().join("kernels")).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| entry.file_name() == ".lock"), "{left:?}");
}

fn shell(script: &str, directory: &Path) {
    let status = Command::new("sh").args(["-euc", script]).current_dir(directory).status().unwrap();
    assert!(status.success(), "{script}");
}

/// An image with /boot and /usr/lib/modules, and a link that would lead out of it.
#[test]
fn a_kernel_comes_out_of_an_image() {
    let home = tempfile::tempdir().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| vmrun(words).home(home.path()).run();
    let script = format!(
        "deb=$(ls -t '{}'/packages/linux-image-6.1.*-cloud-amd64_*.deb | head -n 1)
         dpkg-deb -x \"$deb\" root; mkdir -p root/usr root/etc; mv root/lib root/usr/; ln -s usr/lib root/lib
         find root/usr/lib/modules -path '*/drivers/net/*' -delete
         mv root/boot/config-* root/etc/kernel-config
         ln -s /etc/kernel-config root/boot/config-$(basename root/boot/vmlinuz-* | sed s/vmlinuz-//)
         tar -C root -cf image.tar .",
        setting("VMRUN_CACHE")
    );
    shell(&script, directory.path());
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    run(&["import", "--quiet", &file("image.tar"), "kernel:1"]).succeeds();
    run(&["kernel", "add", "image:kernel:1", "--name", "named"]).succeeds().says(&["named"]);
    let seen =
        run(&["kernel", "inspect", "named"]).succeeds().says(&["image:kernel:1 (sha256:", "config file"]);
    let version = vmrun(["kernel", "inspect", KERNEL]).run().succeeds().value("version");
    assert_eq!(seen.value("version"), version);

    run(&["save", "kernel:1", "-o", &file("saved.tar")]).succeeds();
    let archive = format!("docker-archive:{}", file("saved.tar"));
    run(&["kernel", "add", &archive, "--name", "archived"]).succeeds();
    shell("skopeo copy -q docker-archive:saved.tar oci:layout:latest", directory.path());
    run(&["kernel", "add", &format!("oci:{}", file("layout")), "--name", "laid-out"]).succeeds();
    assert_eq!(run(&["kernel", "ls", "-q"]).succeeds().text(), "archived\nlaid-out\nnamed\n");

    // One with two kernels.
    shell(
        "mkdir -p two/boot; cp root/boot/vmlinuz-* two/boot/; cp root/boot/vmlinuz-* two/boot/vmlinuz-other
         tar -C two -cf two.tar .",
        directory.path(),
    );
    run(&["import", "--quiet", &file("two.tar"), "two"]).succeeds();
    run(&["kernel", "add", "image:two"]).is_refused(&["image:two", &version, "other", "--release"]);
    run(&["kernel", "add", "image:two", "--release", "6"]).is_refused(&["image:two", "release 6", &version]);
    run(&["kernel", "add", "image:two", "--release", "other", "--name", "two"]).succeeds();
    assert_eq!(run(&["kernel", "inspect", "two"]).succeeds().value("version"), version);

    run(&["kernel", "add", "oci:/no/such"]).is_refused(&["/no/such"]);
    run(&["kernel", "add", "docker-archive:/no/such"]).is_refused(&["/no/such"]);
    shell("mkdir empty; tar -C empty -cf empty.tar .", directory.path());
    run(&["import", "--quiet", &file("empty.tar"), "empty"]).succeeds();
    run(&["kernel", "add", "image:empty"]).is_refused(&["image:empty", "neither boot/vmlinuz-VERSION"]);
}
