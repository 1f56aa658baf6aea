//! Several at once.

mod store_support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rootfs_builder::digest::Digest;
use rootfs_builder::progress::{LayerName, LayerOutcome, Progress, Silent};
use rootfs_builder::store::{LoadSource, Store};
use store_support::{TestImage, TestStore, compress, layer_tar, noise};

#[derive(Default)]
struct Built(AtomicUsize);

impl Progress for Built {
    fn layer_finished(&self, _: &LayerName, outcome: LayerOutcome) {
        self.0.fetch_add(usize::from(outcome == LayerOutcome::Built), Ordering::Relaxed);
    }
}

fn image_of(layers: u64, bytes: usize) -> TestImage {
    let layer = |seed| {
        let tar = layer_tar(&[(&format!("f{seed}"), &noise(seed, bytes)), ("small", b"x")]);
        (compress("gzip", &tar), Digest::of(&tar))
    };
    TestImage::of_layers((0..layers).map(layer).collect())
}

#[test]
fn several_loads_of_one_image_build_each_layer_once() {
    let store = TestStore::new();
    let image = image_of(6, 200_000);
    let layout = store.beside("layout");
    image.layout("a:1").write(&layout);
    let built = Built::default();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = Store::open(store.store.root()).expect("opens");
                store.load(LoadSource::Directory(layout.clone()), None, &built).expect("loads");
            });
        }
    });
    assert_eq!(built.0.into_inner(), 6);
    assert_eq!(store.listed(), [("a:1".to_owned(), image.id())]);
    store.check();
}

#[test]
fn loads_of_many_images_and_removals_do_not_disturb_each_other() {
    let store = TestStore::new();
    let images: Vec<TestImage> = (1..=4).map(|layers| image_of(layers, 80_000)).collect();
    thread::scope(|scope| {
        for (i, image) in images.iter().enumerate() {
            let root = store.store.root();
            scope.spawn(move || {
                let store = Store::open(root).expect("opens");
                let name = format!("image{i}:1");
                for round in 0..6 {
                    let archive = match round % 2 {
                        0 => image.layout(&name).archive(false),
                        _ => image.docker_save(&[&name]).archive(true),
                    };
                    let source = LoadSource::Archive(Box::new(std::io::Cursor::new(archive)));
                    store.load(source, None, &Silent).expect("loads");
                    let found = store.resolve(&name).expect("resolves");
                    assert!(found.disk().parts.iter().all(|part| part.path.exists()));
                    drop(found);
                    if round < 5 {
                        store.remove(&name, false, &|_| false).expect("removes");
                    }
                }
            });
        }
    });
    assert_eq!(store.listed().len(), 4);
    store.check();
    for i in 0..4 {
        store.store.remove(&format!("image{i}:1"), false, &|_| false).expect("removes");
    }
    assert!(store.is_empty());
}
