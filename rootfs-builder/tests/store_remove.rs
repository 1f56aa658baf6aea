//! Names come and go; what nobody refers to any more goes with the last of them.

mod store_support;

use std::fs;
use std::sync::mpsc;
use std::thread;

use rootfs_builder::digest::Digest;
use rootfs_builder::progress::{LayerName, LayerOutcome, Progress, Silent};
use rootfs_builder::store::{Error, LoadSource, Store};
use store_support::{TestImage, TestStore, compress, layer_tar, noise};

fn layer(seed: u64) -> (Vec<u8>, Digest) {
    let tar = layer_tar(&[(&format!("f{seed}"), &noise(seed, 70_000))]);
    (compress("gzip", &tar), Digest::of(&tar))
}

#[test]
fn layers_stay_as_long_as_an_image_has_them() {
    let store = TestStore::new();
    let (base, upper) = (layer(1), layer(2));
    let small = TestImage::of_layers(vec![base.clone()]);
    let large = TestImage::of_layers(vec![base.clone(), upper.clone()]);
    store.load_directory(&small.layout("small:1")).expect("loads");
    store.load_archive(large.docker_save(&["large:1"]).archive(false)).expect("loads");
    let has = |(blob, diff_id): &(Vec<u8>, Digest)| {
        let root = store.store.root();
        let layer = root.join("layers/sha256").join(diff_id.hex()).exists();
        assert_eq!(layer, root.join("oci/blobs/sha256").join(Digest::of(blob).hex()).exists());
        layer
    };

    let removed = store.store.remove("large:1", false, &|_| false).expect("removes");
    assert_eq!(removed.deleted.map(|id| id.0), Some(large.id()));
    assert_eq!((has(&base), has(&upper)), (true, false));
    store.check();
    store.store.remove("small:1", false, &|_| false).expect("removes");
    assert!(store.is_empty());
    assert!(matches!(store.store.remove("small:1", false, &|_| false), Err(Error::NotFound(_))));
}

#[test]
fn an_image_goes_with_the_last_of_its_names() {
    let store = TestStore::new();
    let image = TestImage::new(1);
    store.load_archive(image.docker_save(&["a:1", "b:1", "c:1"]).archive(false)).expect("loads");
    let removed = store.store.remove("b:1", false, &|_| false).expect("removes");
    let untagged: Vec<String> = removed.untagged.iter().map(ToString::to_string).collect();
    assert_eq!((untagged, removed.deleted), (vec!["b:1".to_owned()], None));
    assert_eq!(store.listed().len(), 2);

    let id = image.id().hex();
    let error = store.store.remove(&id[..12], false, &|_| false).expect_err("several names").to_string();
    assert!(error.contains("a:1, c:1"), "{error}");
    let removed = store.store.remove(&id[..12], true, &|_| false).expect("removes by force");
    assert_eq!((removed.untagged.len(), removed.deleted.map(|id| id.0)), (2, Some(image.id())));
    assert!(store.is_empty());
}

#[test]
fn a_nameless_image_is_removed_by_its_id() {
    let store = TestStore::new();
    let image = TestImage::new(1);
    store.load_archive(image.layout("latest").archive(false)).expect("loads");
    assert_eq!(store.listed()[0].0, "<none>");
    store.store.remove(&image.id().hex()[..6], false, &|_| false).expect("removes");
    assert!(store.is_empty());
}

#[test]
fn tags_of_one_repository_go_together_with_the_id() {
    let store = TestStore::new();
    let image = TestImage::new(1);
    store.load_archive(image.docker_save(&["a:1", "a:2"]).archive(false)).expect("loads");
    let removed = store.store.remove(&image.id().hex()[..12], false, &|_| false).expect("removes");
    assert_eq!(removed.untagged.len(), 2);
    assert!(store.is_empty());
}

#[test]
fn a_word_may_be_both_a_name_and_the_beginning_of_an_id() {
    let store = TestStore::new();
    let image = TestImage::new(1);
    let word = image.id().hex()[..7].to_owned();
    let archive = image.docker_save(&[&format!("{word}:1"), "b:1"]).archive(false);
    store.load_archive(archive).expect("loads");
    // There is no `word:latest`, so the word is an id, and the image has two names.
    assert!(matches!(store.store.remove(&word, false, &|_| false), Err(Error::SeveralNames { .. })));
    store.store.remove(&format!("{word}:1"), false, &|_| false).expect("removes the name");
    assert_eq!(store.listed(), [("b:1".to_owned(), image.id())]);
}

#[test]
fn the_beginning_of_several_ids_says_so() {
    let store = TestStore::new();
    let ids: Vec<String> = (0..17)
        .map(|seed| {
            let image = TestImage::of_layers(vec![layer(seed)]);
            store.load_directory(&image.layout("latest")).expect("loads");
            image.id().hex()
        })
        .collect();
    // Of 17 ids two begin with the same digit.
    let twice =
        ids.iter().find(|id| ids.iter().filter(|other| other[..1] == id[..1]).count() > 1).expect("two");
    assert!(matches!(store.store.resolve(&twice[..1]), Err(Error::Ambiguous(_))));
    assert!(matches!(store.store.remove(&twice[..1], false, &|_| false), Err(Error::Ambiguous(_))));
}

#[test]
fn an_image_that_a_machine_runs_on_stays() {
    let store = TestStore::new();
    let image = TestImage::new(1);
    store.load_directory(&image.layout("a:1")).expect("loads");
    let running = store.store.resolve("a:1").expect("resolves");
    for force in [false, true] {
        let error = store.store.remove("a:1", force, &|_| false).expect_err("in use").to_string();
        assert_eq!(error, "a:1 is in use by a machine; stop it, or remove it, first");
    }
    // Its name may go to another image, and cleaning up does not touch it.
    store.load_directory(&TestImage::new(2).layout("a:1")).expect("loads");
    assert!(store.store.collect().expect("collects"));
    for part in running.disk().parts {
        assert_eq!(fs::metadata(&part.path).expect("is there").len(), part.length);
    }
    drop(running);
    store.store.remove(&image.id().hex(), false, &|_| false).expect("removes");
    store.check();
    store.store.remove("a:1", false, &|_| false).expect("removes");
    assert!(store.is_empty());
}

/// Stops in the middle of the first layer until it is told to go on.
struct Pause {
    reached: mpsc::SyncSender<()>,
    go_on: std::sync::Mutex<mpsc::Receiver<()>>,
}

impl Progress for Pause {
    fn layer_finished(&self, layer: &LayerName, _: LayerOutcome) {
        if layer.index == 0 {
            self.reached.send(()).expect("somebody waits");
            let _ = self.go_on.lock().expect("lock").recv();
        }
    }
}

#[test]
fn what_is_being_added_is_not_swept_away() {
    let store = TestStore::new();
    store.load_directory(&TestImage::new(1).layout("a:1")).expect("loads");
    let image = TestImage::new(2);
    let layout = store.beside("layout");
    image.layout("b:1").write(&layout);

    let (reached, was_reached) = mpsc::sync_channel(1);
    let (go, go_on) = mpsc::sync_channel(1);
    let pause = Pause { reached, go_on: go_on.into() };
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            let other = Store::open(store.store.root()).expect("opens");
            other.load(LoadSource::Directory(layout), None, &pause)
        });
        was_reached.recv().expect("reached");
        store.store.remove("a:1", false, &|_| false).expect("removes");
        assert!(!store.store.collect().expect("waits its turn"));
        go.send(()).expect("goes on");
        load.join().expect("no panic").expect("loads");
    });
    // And what was removed meanwhile was cleaned up by the one who was adding.
    assert_eq!(store.listed(), [("b:1".to_owned(), image.id())]);
    store.check();
    assert_eq!(fs::read_dir(store.store.root().join("images/sha256")).expect("reads").count(), 1);
    assert_eq!(fs::read_dir(store.store.root().join("layers/sha256")).expect("reads").count(), 2);
    assert!(store.store.load(LoadSource::Directory("nowhere".into()), None, &Silent).is_err());
}
