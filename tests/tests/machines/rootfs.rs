//! The root file system: mapped from the host, written over and never written.

use std::fs;
use std::path::Path;

use tests::{machine, setting, vmrun};

const LIBC: &str = "/usr/lib/x86_64-linux-gnu/libc.so.6";

/// Adds a file, reads a lower one, modifies one in place, replaces one, deletes one.
const VERBS: &str = r#"
    set -e
    cd /data
    echo added >added
    echo read $(cat read)
    echo more >>modified
    printf X | dd of=large conv=notrunc bs=1 seek=100000 2>/dev/null
    rm deleted
    mv read renamed
    mkdir -p directory/below && rmdir /var
    echo added $(cat added)
    echo modified $(cat modified)
    echo large $(wc -c <large) $(tr -cd X <large | wc -c)
    echo files $(ls)
    echo var $(ls -d /var 2>&1)
"#;

const UNTOUCHED: &str = r"
    cd /data; echo files $(ls); echo modified $(cat modified); echo large $(tr -cd X <large | wc -c); ls -d /var";

#[test]
fn the_images_files_are_mapped_and_not_copied() {
    let seen = machine("debian")
        .shell(&format!("probe dax {LIBC}; grep ' / \\| /lower' /proc/mounts"))
        .run()
        .succeeds();
    assert_eq!(seen.value("dax"), "true");
}

#[test]
fn an_image_on_a_block_device_is_copied_and_writable_alike() {
    let seen = machine("busybox")
        .with(["--rootfs-device", "blk"])
        .shell(&format!("probe dax /bin/busybox; {VERBS}"))
        .run()
        .succeeds();
    assert_eq!(seen.value("dax"), "false");
    written_over(&seen);
}

#[test]
fn copy_on_write_leaves_the_image_as_it_is() {
    let before = disk("busybox");
    written_over(&machine("busybox").shell(VERBS).run().succeeds());
    let after = machine("busybox").shell(UNTOUCHED).run().succeeds();
    assert_eq!(after.value("files"), "deleted large modified read text");
    assert_eq!(after.value("modified"), "lower");
    assert_eq!(after.number("large"), 0);
    assert!(before == disk("busybox"), "the image's disk is byte-identical");
}

fn written_over(seen: &tests::Outcome) {
    assert_eq!(seen.value("read"), "lower");
    assert_eq!(seen.value("added"), "added");
    assert_eq!(seen.value("modified"), "lower more");
    assert_eq!(seen.value("large"), "1288895 1");
    assert_eq!(seen.value("files"), "added directory large modified renamed text");
    assert!(seen.value("var").contains("No such file"), "{}", seen.text());
}

/// A guest is root and may write to its disk's memory as it likes: that harms nobody's image.
#[test]
fn a_guest_that_writes_to_its_disk_harms_nothing() {
    let before = disk("busybox");
    let outcome = machine("busybox")
        .shell("dd if=/dev/zero of=/dev/pmem0 bs=4096 count=16 conv=notrunc 2>&1; sync; echo went on")
        .run();
    assert!(
        outcome.code() == 0 || outcome.code() == 125,
        "the guest goes on, or its end is reported: {}\n{}",
        outcome.code(),
        outcome.stderr
    );
    assert!(before == disk("busybox"), "the image's disk is byte-identical");
}

#[test]
fn a_read_only_root_takes_nothing() {
    let seen = machine("busybox")
        .with(["--read-only"])
        .shell("echo x >/data/added; rm /data/read; cat /data/read; echo x >/tmp/x; echo y >/dev/shm/y && cat /dev/shm/y")
        .run()
        .succeeds();
    assert_eq!(seen.text(), "lower\ny\n");
    seen.complains(&["Read-only file system"]);
}

/// The image's disk as one file, by the store's own reading.
fn disk(image: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rootfs");
    vmrun(["rootfs".as_ref(), "-o".as_ref(), file.as_os_str(), image.as_ref()]).run().succeeds();
    assert!(Path::new(&setting("VMRUN_HOME")).join("layers").is_dir());
    fs::read(file).unwrap()
}
