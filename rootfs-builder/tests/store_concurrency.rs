//! Several at once, and some of them killed.

mod store_support;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rootfs_builder::digest::Digest;
use rootfs_builder::progress::{LayerName, LayerOutcome, Progress, Silent};
use rootfs_builder::store::{LoadSource, Store};
use store_support::{TestImage, TestStore, check_whole, compress, layer_tar, noise};

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
                        store.remove(&name, false).expect("removes");
                    }
                }
            });
        }
    });
    assert_eq!(store.listed().len(), 4);
    store.check();
    for i in 0..4 {
        store.store.remove(&format!("image{i}:1"), false).expect("removes");
    }
    assert!(store.is_empty());
}

const CHILD: &str = "STORE_CRASH_CHILD";

/// Not a test of its own: what the crash test kills. Loads and removes for ever.
#[test]
#[ignore = "run by the crash test"]
fn crash_child() {
    let Some(directory) = std::env::var_os(CHILD).map(PathBuf::from) else {
        return;
    };
    let store = Store::open(&directory.join("store")).expect("opens");
    for round in 0.. {
        load_both(&store, &directory, round % 2 == 0);
        store.remove("a:1", false).expect("removes");
    }
}

fn load_both(store: &Store, directory: &Path, archives: bool) {
    for name in ["a", "b"] {
        let source = match archives {
            true => {
                let file = std::fs::File::open(directory.join(format!("{name}.tar"))).expect("opens");
                LoadSource::Archive(Box::new(file))
            }
            false => LoadSource::Directory(directory.join(name)),
        };
        store.load(source, None, &Silent).expect("loads");
    }
}

/// Kills loads and removals at random moments. `STORE_CRASH_ROUNDS` says how often, if not as often as fits in a
/// short or (`VMRUN_TEST_LONG`) a long run of the tests.
#[test]
fn a_store_is_intact_after_kill_at_any_moment() {
    let long = std::env::var("VMRUN_TEST_LONG").is_ok_and(|long| !long.is_empty());
    let rounds = std::env::var("STORE_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds = rounds.unwrap_or(if long { 600 } else { 25 });
    let test = TestStore::new();
    let directory = test.directory.path();
    for (name, image) in [("a", image_of(3, 300_000)), ("b", image_of(2, 300_000))] {
        let layout = image.layout(&format!("{name}:1"));
        layout.write(&directory.join(name));
        std::fs::write(directory.join(format!("{name}.tar")), layout.archive(true)).expect("writes");
    }
    let started = Instant::now();
    load_both(&test.store, directory, false);
    test.store.remove("a:1", false).expect("removes");
    let one_round = started.elapsed().as_micros() as u64;

    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..rounds {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "crash_child", "--ignored", "--nocapture"])
            .env(CHILD, directory)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        thread::sleep(Duration::from_micros((random >> 33) % (3 * one_round)));
        child.kill().expect("kills");
        let output = child.wait_with_output().expect("waits");
        assert_eq!(output.status.signal(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
        // `b` was loaded before the first round and is never removed.
        check_whole(test.store.root());
        assert!(test.store.resolve("b:1").is_ok(), "round {round}");
        if round % 8 == 0 {
            load_both(&test.store, directory, round % 16 == 0);
            assert_eq!(test.listed().len(), 2);
            test.check();
        }
    }
    load_both(&test.store, directory, true);
    for name in ["a:1", "b:1"] {
        test.store.remove(name, false).expect("removes");
    }
    assert!(test.is_empty(), "nothing is left of what was killed");
}
