//! Damage to every kind of file in the store, and what `fsck` makes of it.

mod store_support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rootfs_builder::digest::Digest;
use rootfs_builder::progress::Silent;
use rootfs_builder::store::{FsckReport, Limits, LoadSource, Remedy, Store};
use serde_json::{Value, json};
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

type Damage = fn(&Path);

const DAMAGES: [Damage; 3] = [flip, cut, remove];

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
fn a_store_that_has_lost_its_index_loses_nothing_else() {
    let (store, image, _) = store();
    remove(&store.store.root().join("oci/index.json"));
    // Nobody takes it for a store without images.
    let error = store.store.images().expect_err("the index is missing").to_string();
    assert!(error.contains("it is missing") && error.contains("`vmrun fsck`"), "{error}");
    store.load_archive(b"no image".to_vec()).expect_err("is no image");
    store.load_archive(TestImage::new(5).layout("b:1").archive(false)).expect_err("cannot be named");
    store.store.prune(true, &|_| true).expect_err("cannot tell what nobody needs");
    store.store.collect().expect_err("cannot tell what nobody needs");
    assert_eq!(remedies(&fsck(&store, false)), [Remedy::Possible]);
    assert_eq!(remedies(&fsck(&store, true)), [Remedy::Repaired]);
    assert!(store.listed().contains(&("<none>".to_owned(), image.id())), "{:?}", store.listed());
    assert_eq!(fsck(&store, true).findings, []);
    store.check();
}

#[test]
fn without_its_index_and_a_manifest_the_image_is_named() {
    let (store, image, _) = store();
    store.load_archive(TestImage::new(5).layout("b:1").archive(false)).expect("loads");
    let oci = store.store.root().join("oci");
    let manifest = Digest::of(image.manifest().to_string().as_bytes());
    remove(&oci.join("index.json"));
    remove(&oci.join("blobs/sha256").join(manifest.hex()));
    let lost = Remedy::PullAgain(vec![image.id().to_string()]);
    assert_eq!(remedies(&fsck(&store, true)), [Remedy::Repaired, lost]);
    assert_eq!(store.listed(), [("<none>".to_owned(), TestImage::new(5).id())]);
    store.check();
}

#[test]
fn a_store_without_images_has_an_index_from_the_first_attempt_on() {
    let store = TestStore::new();
    store.load_archive(b"no image".to_vec()).expect_err("is no image");
    assert_eq!(fsck(&store, true).findings, []);
    store.load_directory(&TestImage::new(1).layout("a:1")).expect("loads");
}

#[test]
fn an_image_whose_directory_is_gone_is_made_anew() {
    let (store, image, _) = store();
    fs::remove_dir_all(&files(&store, "images/sha256", "")[0]).expect("removes");
    // Its layers are not taken for nobody's.
    store.store.collect().expect("sweeps");
    assert_eq!(files(&store, "layers/sha256", "").len(), 2);
    assert_eq!(remedies(&fsck(&store, false)), [Remedy::Possible]);
    assert_eq!(remedies(&fsck(&store, true)), [Remedy::Repaired]);
    assert_eq!(store.listed(), [("a:1".to_owned(), image.id())]);
    assert_eq!(fsck(&store, true).findings, []);
    store.check();
}

#[test]
fn a_layer_that_cannot_be_made_again_is_a_finding_and_not_the_end() {
    let (store, _, _) = store();
    store.load_directory(&TestImage::new(7).layout("b:1")).expect("loads");
    let layers = files(&store, "layers/sha256", "");
    layers.iter().for_each(|layer| flip(&layer.join("data")));
    // Their blobs are whole, and more than may be unpacked by now.
    let limits = Limits { layer_bytes: 99_000, ..Limits::default() };
    let smaller = Store::with_limits(store.store.root(), limits).expect("opens");
    let report = smaller.fsck(true, &|_| {}).expect("checks");
    let lost = report.findings.iter().filter(|finding| matches!(finding.remedy, Remedy::PullAgain(_)));
    assert_eq!((report.findings.len(), lost.count()), (4, 3), "{report:?}");
    assert!(report.findings.iter().any(|finding| finding.problem.contains("the limit for one layer")));
}

/// As earlier versions took them, when the layer was there already.
#[test]
fn a_manifest_that_lies_about_a_size_is_named() {
    let (store, image, layout) = store();
    let mut manifest = image.manifest();
    manifest["layers"][0]["size"] = json!(5);
    let bytes = manifest.to_string();
    let digest = Digest::of(bytes.as_bytes());
    fs::write(store.store.blob_path(&digest), &bytes).expect("writes");
    let index = store.store.root().join("oci/index.json");
    let mut names: Value = serde_json::from_slice(&fs::read(&index).expect("reads")).expect("JSON");
    names["manifests"][0]["digest"] = json!(digest);
    names["manifests"][0]["size"] = json!(bytes.len());
    fs::write(&index, names.to_string()).expect("writes");
    // Its layers are made anew all the same.
    files(&store, "layers/sha256", "data").iter().for_each(|data| flip(data));
    let again = Remedy::PullAgain(vec!["docker.io/library/a:1".into()]);
    assert_eq!(remedies(&fsck(&store, true)), [again.clone(), Remedy::Repaired, Remedy::Repaired]);
    assert_eq!(remedies(&fsck(&store, true)), [again]);
    store.store.load(LoadSource::Directory(layout), None, &Silent).expect("loads");
    store.store.prune(false, &|_| true).expect("removes the liar");
    assert_eq!(fsck(&store, true).findings, []);
    store.check();
}

#[test]
fn what_is_visibly_damaged_is_replaced_by_a_load() {
    // What is cut inside a layer's files only fsck sees.
    let cases: [(Damage, &str, &str, usize); 8] = [
        (remove, "layers/sha256", "data", 2),
        (remove, "layers/sha256", "entries", 2),
        (remove, "images/sha256", "metadata", 1),
        (remove, "images/sha256", "image.json", 1),
        (remove, "oci/blobs/sha256", "", 4),
        (cut, "images/sha256", "metadata", 1),
        (cut, "images/sha256", "image.json", 1),
        (cut, "oci/blobs/sha256", "", 4),
    ];
    for (damage, directory, file, count) in cases {
        for (index, archive) in (0..count).flat_map(|index| [(index, false), (index, true)]) {
            let (store, image, layout) = store();
            damage(&files(&store, directory, file)[index].components().collect::<PathBuf>());
            match archive {
                true => store.load_archive(image.layout("a:1").archive(false)),
                false => store.store.load(LoadSource::Directory(layout), None, &Silent),
            }
            .unwrap_or_else(|error| panic!("{directory} {file}: {error}"));
            assert_eq!(fsck(&store, false).findings, [], "{directory} {file}");
            store.check();
        }
    }
}

#[test]
fn documents_with_flipped_bits_are_replaced_by_a_load() {
    let (store, image, layout) = store();
    let manifest = Digest::of(image.manifest().to_string().as_bytes());
    for document in [manifest, image.id()] {
        flip(&store.store.blob_path(&document));
        store.store.load(LoadSource::Directory(layout.clone()), None, &Silent).expect("loads");
        assert_eq!(fsck(&store, false).findings, []);
    }
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
