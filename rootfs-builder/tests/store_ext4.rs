//! Images as ext4: made when they are wanted, kept, checked, and gone with their image.

mod store_support;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rootfs_builder::store::{Disk, DiskFormat, FsckReport, Image, Remedy};
use store_support::{TestImage, TestStore};

fn store() -> (TestStore, Image) {
    let test = TestStore::new();
    test.load_directory(&TestImage::new(1).layout("a:1")).expect("loads");
    let image = test.store.resolve("a:1").expect("resolves");
    (test, image)
}

fn ext4(test: &TestStore, image: &Image) -> Disk {
    test.store.disk(image, DiskFormat::Ext4).expect("is made")
}

/// The file that is the image's own.
fn own(disk: &Disk) -> PathBuf {
    disk.parts[0].path.clone()
}

fn is_clean(file: &Path) {
    let checked = Command::new("e2fsck").arg("-fn").arg(file).output().expect("runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn it_is_made_once_and_shares_the_layers_with_the_others() {
    let (test, image) = store();
    let disk = ext4(&test, &image);
    assert_eq!(disk.parts[1..], image.disk().parts[1..]);
    assert_eq!(disk.length, disk.parts.iter().map(|part| part.length).sum::<u64>());
    let made = fs::metadata(own(&disk)).expect("is there").ino();
    assert_eq!(ext4(&test, &image), disk);
    assert_eq!(fs::metadata(own(&disk)).expect("is there").ino(), made);

    let parts: Vec<u8> = disk.parts.iter().flat_map(|part| fs::read(&part.path).expect("reads")).collect();
    let file = test.beside("file");
    fs::write(&file, parts).expect("writes");
    is_clean(&file);
}

#[test]
fn it_is_exported_with_and_without_what_is_hidden() {
    let (test, image) = store();
    let (file, flat) = (test.beside("file"), test.beside("flat"));
    let length = test
        .store
        .export_rootfs(&image, DiskFormat::Ext4, &mut File::create(&file).expect("creates"))
        .expect("writes");
    test.store.export_flat(&image, DiskFormat::Ext4, &File::create(&flat).expect("creates")).expect("writes");
    assert_eq!(fs::metadata(&file).expect("is there").len(), length);
    // The upper layer removed 100 kB.
    assert!(fs::metadata(&flat).expect("is there").len() + 100_000 < length);
    for file in [file, flat] {
        is_clean(&file);
        let shown = Command::new("debugfs").args(["-R", "cat /etc/motd"]).arg(&file).output().expect("runs");
        assert_eq!(shown.stdout, b"hello\n");
    }
}

/// As a crash of the host may leave it, in spite of everything.
#[test]
fn one_that_is_cut_short_is_made_again() {
    let (test, image) = store();
    let file = own(&ext4(&test, &image));
    let before = fs::read(&file).expect("reads");
    for length in [0, 1024, 4096, before.len() as u64 - 4096] {
        OpenOptions::new().write(true).open(&file).expect("opens").set_len(length).expect("cuts");
        ext4(&test, &image);
        assert!(fs::read(&file).expect("reads") == before, "{length}");
    }
}

#[test]
fn many_at_once_get_the_same() {
    let (test, _) = store();
    let disks: Vec<Disk> = std::thread::scope(|scope| {
        let get = || ext4(&test, &test.store.resolve("a:1").expect("resolves"));
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(get)).collect();
        threads.into_iter().map(|thread| thread.join().expect("ends")).collect()
    });
    assert!(disks.iter().all(|disk| *disk == disks[0]));
    assert_eq!(fs::read_dir(test.store.root().join("tmp")).expect("reads").count(), 0);
}

#[test]
fn df_counts_it_and_it_goes_with_its_image() {
    let (test, image) = store();
    let size = || test.store.usage(&|_| false).expect("adds up").images[0].size;
    let before = size();
    let file = own(&ext4(&test, &image));
    assert_eq!(size() - before, fs::metadata(&file).expect("is there").blocks() * 512);
    drop(image);
    test.store.remove("a:1", false, &|_| false).expect("removes");
    assert!(!file.exists() && !file.parent().expect("has one").exists());
}

#[test]
fn fsck_finds_what_is_wrong_with_it() {
    let (test, image) = store();
    let fsck = |repair| -> FsckReport { test.store.fsck(repair, &|_| {}).expect("checks") };
    let file = own(&ext4(&test, &image));
    assert_eq!(fsck(true).findings, []);
    let before = fs::read(&file).expect("reads");
    // In the inode tables, where nothing else would notice.
    OpenOptions::new().write(true).open(&file).expect("opens").write_all_at(b"x", 20_000).expect("writes");
    let found = fsck(false);
    assert_eq!(found.findings[0].remedy, Remedy::Possible);
    assert!(found.findings[0].what.starts_with("the ext4 of image"), "{found:?}");
    assert_eq!(fsck(true).findings[0].remedy, Remedy::Repaired);
    assert!(fs::read(&file).expect("reads") == before);
    assert_eq!(fsck(true).findings, []);
}
