//! Damage to every kind of file in the store, and what `fsck` makes of it.

mod store_support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rootfs_builder::digest::Digest;
use rootfs_builder::progress::Silent;
use rootfs_builder::store::{FsckReport, LoadSource, Remedy};
use store_support::{TestImage, TestStore, compress, layer_tar, noise};

/// A store with an image of two layers, and the image's layout to load it from again.
fn store() -> (TestStore, TestImage, PathBuf) {
    let store = TestStore::new();
    let layer = |seed| {
        let tar = layer_tar(&[("f", &noise(seed, 100_000)), ("small", b"x")]);
        (compress("gzip", &tar), Digest::of(&tar))
    };
    let image = TestImage::of_layers(vec![layer(1), layer(2)]);
    let layout = store.beside("layout");
    image.layout("a:1").write(&layout);
    store.store.load(LoadSource::Directory(layout.clone()), None, &Silent).expect("loads");
    (store, image, layout)
}

fn fsck(store: &TestStore, repair: bool) -> FsckReport {
    store.store.fsck(repair, &|_| {}).expect("checks")
}

fn remedies(report: &FsckReport) -> Vec<Remedy> {
    report.findings.iter().map(|finding| finding.remedy.clone()).collect()
}

fn flip(path: &Path) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).expect("opens");
    let middle = file.metadata().expect("is there").len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).expect("reads");
    file.write_all_at(&[byte[0] ^ 0x10], middle).expect("writes");
}

fn cut(path: &Path) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("opens");
    file.set_len(file.metadata().expect("is there").len() / 2).expect("cuts");
}

fn remove(path: &Path) {
    fs::remove_file(path).expect("removes");
}

const DAMAGES: [fn(&Path); 3] = [flip, cut, remove];

/// The files of a kind: `layers/sha256/*/data`.
fn files(store: &TestStore, directory: &str, file: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.store.root().join(directory)).expect("reads");
    entries.map(|entry| entry.expect("reads").path().join(file)).collect()
}

#[test]
fn a_whole_store_has_no_findings() {
    let (store, ..) = store();
    let report = fsck(&store, true);
    assert_eq!(report.findings, []);
    // Two layers' blobs, the manifest and the configuration.
    assert_eq!((report.images, report.layers, report.blobs), (1, 2, 4));
    assert!(report.bytes > 400_000);
}

#[test]
fn what_follows_from_blobs_is_made_anew() {
    for damage in DAMAGES {
        for (directory, file) in [
            ("layers/sha256", "data"),
            ("layers/sha256", "entries"),
            ("images/sha256", "metadata"),
            ("images/sha256", "image.json"),
        ] {
            let (store, ..) = store();
            let path = files(&store, directory, file).remove(0);
            let before = fs::read(&path).expect("reads");
            damage(&path);
            let report = fsck(&store, false);
            // What an image's files are worth cannot be told without its layers.
            assert_eq!(remedies(&report), [Remedy::Possible], "{file}: {report:?}");
            assert!(fs::read(&path).ok() != Some(before.clone()), "{file}: only looked at");

            let report = fsck(&store, true);
            assert_eq!(remedies(&report), [Remedy::Repaired], "{file}: {report:?}");
            assert!(fs::read(&path).expect("is there again") == before, "{file}");
            assert_eq!(fsck(&store, true).findings, []);
            store.check();
        }
    }
}

#[test]
fn a_lost_layer_is_built_again_from_its_blob() {
    let (store, ..) = store();
    fs::remove_dir_all(&files(&store, "layers/sha256", "")[0]).expect("removes");
    assert_eq!(remedies(&fsck(&store, true)), [Remedy::Repaired]);
    store.check();
}

#[test]
fn a_damaged_blob_is_named_taken_away_and_comes_back_with_the_next_load() {
    for damage in DAMAGES {
        let (store, image, layout) = store();
        let blobs = store.store.root().join("oci/blobs/sha256");
        for blob in fs::read_dir(&blobs).expect("reads").map(|entry| entry.expect("reads").path()) {
            damage(&blob);
            let again = Remedy::PullAgain(vec!["docker.io/library/a:1".into()]);
            assert_eq!(remedies(&fsck(&store, true)), [again]);
            assert!(!blob.exists());
            assert!(store.store.resolve("a:1").is_ok(), "the image can still be run");
            store.store.load(LoadSource::Directory(layout.clone()), None, &Silent).expect("loads");
            assert_eq!(fsck(&store, true).findings, []);
            assert_eq!(store.listed(), [("a:1".to_owned(), image.id())]);
            store.check();
        }
    }
}

#[test]
fn a_layer_whose_blob_is_damaged_too_comes_back_with_the_next_load() {
    let (store, _, layout) = store();
    for blob in fs::read_dir(store.store.root().join("oci/blobs/sha256")).expect("reads") {
        let blob = blob.expect("reads");
        if blob.metadata().expect("is there").len() > 50_000 {
            flip(&blob.path());
        }
    }
    files(&store, "layers/sha256", "data").iter().for_each(|data| flip(data));
    let report = fsck(&store, true);
    assert_eq!(report.findings.len(), 4, "{report:?}");
    assert!(report.is_damaged());
    store.store.load(LoadSource::Directory(layout), None, &Silent).expect("loads");
    assert_eq!(fsck(&store, true).findings, []);
    store.check();
}

#[test]
fn without_its_index_a_store_keeps_its_images_but_not_their_names() {
    let (store, image, _) = store();
    let index = store.store.root().join("oci/index.json");
    fs::write(&index, b"{").expect("writes");
    assert_eq!(remedies(&fsck(&store, false)), [Remedy::Possible]);
    assert_eq!(remedies(&fsck(&store, true)), [Remedy::Repaired]);
    assert_eq!(store.listed(), [("<none>".to_owned(), image.id())]);
    assert_eq!(fsck(&store, true).findings, []);
    store.check();
}

#[test]
fn a_layer_that_is_added_to_a_damaged_one_says_what_to_do() {
    let (store, image, _) = store();
    files(&store, "layers/sha256", "entries").iter().for_each(|entries| flip(entries));
    let other = image.with_layer({
        let tar = layer_tar(&[("g", b"y")]);
        (compress("gzip", &tar), Digest::of(&tar))
    });
    let layout = store.beside("other");
    other.layout("b:1").write(&layout);
    let error =
        store.store.load(LoadSource::Directory(layout.clone()), None, &Silent).expect_err("is damaged");
    assert!(error.to_string().ends_with("; `vmrun fsck` repairs it"), "{error}");
    fsck(&store, true);
    store.store.load(LoadSource::Directory(layout), None, &Silent).expect("loads");
    store.check();
}
