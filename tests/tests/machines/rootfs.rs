//! The root file system: mapped from the host, written over and never written.

use std::fs;
use std::path::Path;

use tests::{Record, machine, recorded_machine, setting, vmrun};

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

/// Mapped pages of an image are none of the guest's RAM: devices get them all the same.
#[test]
fn what_is_mapped_of_an_image_can_be_written_past_the_page_cache() {
    let script = "probe dax /bin/busybox; probe direct /bin/busybox /data/copy; echo 3 >/proc/sys/vm/drop_caches
        size=$(wc -c </data/copy); [ $size -gt 100000 ] && head -c $size /bin/busybox | cmp - /data/copy && echo copy same";
    for words in [&["--transport", "mmio"][..], &["--transport", "pci"], &["--no-share"]] {
        let seen = machine("busybox").with(words).shell(script).run().succeeds();
        assert_eq!([seen.value("dax"), seen.value("copy")], ["true", "same"], "{words:?}");
    }
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
fn an_image_as_ext4_is_mapped_and_writable_alike() {
    for (device, dax) in [("pmem", "true"), ("blk", "false")] {
        let seen = machine("busybox")
            .with(["--rootfs-format", "ext4", "--rootfs-device", device])
            .shell(&format!("probe dax /bin/busybox; {VERBS}"))
            .run()
            .succeeds();
        assert_eq!(seen.value("dax"), dax);
        written_over(&seen);
    }
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

/// A guest is root and may write to its disk's memory as it likes: that harms nobody's image, and is said.
#[test]
fn a_guest_that_writes_to_its_disk_harms_nothing() {
    let before = disk("busybox");
    let mut neighbour = machine("busybox")
        .with(["-i"])
        .shell("md5sum /data/large; echo up; read go; md5sum /data/large")
        .start_with_stdin();
    neighbour.says("up");
    let outcome = machine("busybox")
        .shell("dd if=/dev/zero of=/dev/pmem0 bs=4096 count=16 conv=notrunc 2>&1; sync; echo went on")
        .run();
    assert!(
        outcome.code() == 0 || outcome.code() == 125,
        "the guest goes on, or its end is reported: {}\n{}",
        outcome.code(),
        outcome.stderr
    );
    let said = outcome.stderr.matches("vmrun: the guest wrote to its read-only rootfs; nothing was changed");
    assert_eq!(said.count(), 1, "{}", outcome.stderr);
    assert!(before == disk("busybox"), "the image's disk is byte-identical");
    drop(neighbour.stdin());
    let seen = neighbour.wait();
    let text = seen.text();
    let sums: Vec<&str> = text.lines().filter(|line| line.ends_with("/data/large")).collect();
    assert_eq!(sums.len(), 2, "{}", seen.text());
    assert_eq!(sums[0], sums[1], "another machine reads what it has read before");
}

/// `--timing` and the record say what the rootfs is on, and why.
#[test]
fn the_choice_of_device_is_told() {
    let chosen = |words: &[&str]| {
        let seen = recorded_machine("busybox").with(["--timing"]).with(words).shell("true").run().succeeds();
        let description = Record::of(&seen).description();
        let field = |name: &str| description[name].as_str().unwrap_or_default().to_owned();
        let line = seen.stderr.lines().find(|line| line.starts_with("disk ")).unwrap_or_default().to_owned();
        (field("rootfs_device"), field("rootfs_reason"), description["rootfs_private"].clone(), line)
    };
    let (device, reason, private, line) = chosen(&[]);
    assert_eq!((&*device, &*reason), ("pmem", "mapped with DAX"));
    assert_eq!((private, &*line), (false.into(), "disk     pmem: mapped with DAX"));
    let (device, reason, private, line) = chosen(&["--rootfs-device", "blk", "--no-share"]);
    assert_eq!((&*device, &*reason), ("blk", "asked for"));
    assert_eq!((private, &*line), (true.into(), "disk     blk, a private copy: asked for"));
    let (.., line) = chosen(&["--rootfs-format", "ext4"]);
    assert_eq!(&*line, "disk     pmem: mapped with DAX; ext4: asked for");
}

#[test]
fn a_machine_that_shares_nothing_reads_the_same() {
    for (device, dax) in [("pmem", "true"), ("blk", "false")] {
        let words = ["--no-share", "--rootfs-device", device];
        let seen = machine("busybox")
            .with(words)
            .shell(&format!("probe dax /bin/busybox; {VERBS}"))
            .run()
            .succeeds();
        assert_eq!(seen.value("dax"), dax);
        written_over(&seen);
    }
}

/// Nobody should; but it must not be a hang, a crash without a word, or zeroes in the place of files.
#[test]
fn a_store_that_is_cut_short_under_a_machine_is_said_in_one_line() {
    const READ: &str = "echo up; read go; md5sum /data/large";
    let says = |words: &[&str], complaint: &str| {
        let home = home_with_a_copy();
        let mut running =
            machine("busybox").home(home.path()).with(["-i"]).with(words).shell(READ).start_with_stdin();
        running.says("up");
        for layer in fs::read_dir(home.path().join("layers/sha256")).unwrap() {
            let data = fs::File::options().write(true).open(layer.unwrap().path().join("data")).unwrap();
            data.set_len(4096).unwrap();
        }
        drop(running.stdin());
        let outcome = running.wait();
        assert_ne!(outcome.code(), 0, "{}", outcome.text());
        let lines: Vec<&str> = outcome.stderr.lines().filter(|line| line.starts_with("vmrun: ")).collect();
        assert_eq!(lines.len(), 1, "{}", outcome.stderr);
        assert!(lines[0].contains(complaint), "{}", outcome.stderr);
    };
    says(&[], "a file of the machine's disk was cut short");
    says(
        &["--rootfs-device", "blk"],
        "reading the machine's disk rootfs failed: its file has become shorter",
    );
}

/// A state directory with the tests' kernel, and the busybox image in files of its own.
fn home_with_a_copy() -> tempfile::TempDir {
    let from = Path::new(&setting("VMRUN_HOME")).to_owned();
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(from.join("kernels"), home.path().join("kernels")).unwrap();
    let tar = Path::new(&setting("VMRUN_CACHE")).join("tests/images/busybox.tar");
    let words = ["import".as_ref(), "--quiet".as_ref(), tar.as_os_str(), "busybox".as_ref()];
    vmrun(words).home(home.path()).run().succeeds();
    home
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
