//! What images may demand of the store, and what hostile ones try.

mod store_support;

use std::fs::{self, DirEntry};
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rootfs_builder::digest::Digest;
use rootfs_builder::progress::Silent;
use rootfs_builder::store::{Error, ImportConfig, Limits, LoadSource, Loaded, Store};
use serde_json::{Value, json};
use store_support::{FORMS, Files, TestImage, TestStore, compress, layer_tar, noise};

/// A store with limits of its own.
struct Limited {
    directory: tempfile::TempDir,
    store: Store,
}

impl Limited {
    fn new(change: impl FnOnce(&mut Limits)) -> Limited {
        let directory = tempfile::tempdir().expect("a directory");
        let mut limits = Limits::default();
        change(&mut limits);
        Limited { store: Store::with_limits(directory.path(), limits).expect("opens"), directory }
    }

    fn load(&self, archive: Vec<u8>) -> Result<Vec<Loaded>, Error> {
        self.store.load(LoadSource::Archive(Box::new(Cursor::new(archive))), None, &Silent)
    }

    #[track_caller]
    fn refuses(&self, archive: Vec<u8>, saying: &str) {
        let error = self.load(archive).expect_err("is refused").to_string();
        assert!(error.contains(saying), "‘{error}’ does not say ‘{saying}’");
        for directory in ["tmp", "oci/blobs/sha256", "layers/sha256"] {
            let entries = fs::read_dir(self.directory.path().join(directory)).expect("reads");
            assert_eq!(entries.count(), 0, "{directory}");
        }
    }
}

#[test]
fn a_decompression_bomb_is_refused_at_the_limit() {
    let limited = Limited::new(|limits| limits.layer_bytes = 1 << 20);
    let bomb = layer_tar(&[("zeroes", &vec![0; 8 << 20])]);
    let name = "x:1".parse().expect("a name");
    for form in FORMS {
        let bytes = compress(form, &bomb);
        let image = TestImage::of_layers(vec![(bytes.clone(), Digest::of(&bomb))]);
        let import =
            limited.store.import(bytes.as_slice(), &name, ImportConfig::default(), &Silent).expect_err(form);
        assert!(import.to_string().contains("more than 1048576 bytes, the limit"), "{form}: {import}");
        limited.refuses(image.layout("x:1").archive(false), "more than 1048576 bytes, the limit");
    }
    assert_eq!(limited.store.images().expect("lists"), []);
}

#[test]
fn archives_beyond_the_limits_are_refused() {
    let limited = Limited::new(|limits| {
        limits.archive.archive_entries = 50;
        limits.archive.all_documents_bytes = 100_000;
        limits.archive.layers = 1;
    });
    let names: Vec<String> = (0..60).map(|i| format!("f{i}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    limited.refuses(layer_tar(&files), "more than 50 entries");
    let files: Vec<(&str, &[u8])> =
        names[..40].iter().map(|name| (name.as_str(), &[b' '; 4000][..])).collect();
    limited.refuses(layer_tar(&files), "larger than 100000 bytes together");
    limited.refuses(TestImage::new(1).layout("x:1").archive(false), "2 layers, more than 1");
}

/// As long as a megabyte in an archive, each, and nothing once they are compressed.
#[test]
fn an_archive_whose_names_are_long_is_refused() {
    let store = TestStore::new();
    let mut archive = tar::Builder::new(Vec::new());
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Directory] {
        for i in 0..20 {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(0);
            let name = "a".repeat(1_000_000);
            archive.append_link(&mut header, format!("{i}{name}"), &name).expect("appends");
        }
    }
    let archive = compress("zstd", &archive.into_inner().expect("finishes"));
    assert!(archive.len() < 100_000);
    let error = store.load_archive(archive).expect_err("is refused").to_string();
    assert_eq!(error, "documents and the names of files are larger than 33554432 bytes together, the limit");
}

#[test]
fn what_an_archive_makes_the_store_write_is_bounded() {
    let limited = Limited::new(|limits| {
        limits.layer_bytes = 1 << 20;
        limits.archive.archive_bytes = 3 << 20;
    });
    let file = |size: usize| layer_tar(&[("large", &vec![0; size])]);
    limited.refuses(file(2 << 20), "more than 1048576 bytes, the limit");
    // Also of what is only skipped.
    let mut directory = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Fifo);
    header.set_size(9 << 20);
    directory.append_data(&mut header, "skipped", vec![0; 9 << 20].as_slice()).expect("appends");
    let skipped = directory.into_inner().expect("finishes");
    limited.refuses(compress("zstd", &skipped), "more than 3145728 bytes in one archive");

    // Layers each of which is as large as may be, in an archive that is small.
    let layer =
        |seed| compress("zstd", &layer_tar(&[("f", &noise(seed, 70_000)), ("zeroes", &vec![0; 900_000])]));
    let layers: Vec<(String, Vec<u8>)> = (0..5).map(|i| (format!("{i}/layer.tar"), layer(i))).collect();
    let files: Vec<(&str, &[u8])> =
        layers.iter().map(|(path, layer)| (path.as_str(), layer.as_slice())).collect();
    limited.refuses(layer_tar(&files), "layers unpack to more than 3145728 bytes together");
}

/// A source that looks at the store's drafts when it is read.
struct Watching<'a, R> {
    inner: R,
    tmp: &'a Path,
    most: &'a AtomicU64,
}

impl<R: Read> Read for Watching<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        fn bytes(directory: &Path) -> u64 {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let size = |entry: DirEntry| match entry.file_type() {
                Ok(kind) if kind.is_dir() => bytes(&entry.path()),
                _ => entry.metadata().map_or(0, |metadata| metadata.len()),
            };
            entries.map(size).sum()
        }
        self.most.fetch_max(bytes(self.tmp), Ordering::Relaxed);
        self.inner.read(out)
    }
}

#[test]
fn what_is_no_layer_takes_no_space_once_it_is_read() {
    let store = TestStore::new();
    let tmp = store.store.root().join("tmp");
    let most = AtomicU64::new(0);
    // Damaged at its end, and no tar at all.
    let mut damaged = compress("gzip", &layer_tar(&[("f", &noise(1, 1_000_000))]));
    damaged.truncate(damaged.len() - 100);
    let noise = noise(2, 1_000_000);
    let names: Vec<String> = (0..20).map(|i| format!("{i}/layer.tar")).collect();
    let files: Vec<(&str, &[u8])> = names
        .iter()
        .enumerate()
        .map(|(i, name)| (name.as_str(), if i % 2 == 0 { &damaged[..] } else { &noise[..] }))
        .collect();
    let archive = layer_tar(&files);
    let (archive, tmp, most): (&'static [u8], &'static Path, &'static _) =
        (Box::leak(archive.into()), Box::leak(tmp.into()), Box::leak(Box::new(most)));
    let source = Box::new(Watching { inner: archive, tmp, most });
    store.store.load(LoadSource::Archive(source), None, &Silent).expect_err("there is no list of images");
    let most = most.load(Ordering::Relaxed);
    assert!(most < 5_000_000, "{most} bytes of 20,000,000 at once");
}

/// Each document is looked into once, however often it is named.
#[test]
fn an_index_that_names_few_documents_many_times_is_read_at_once() {
    let store = TestStore::new();
    let refuses = |files: &Files, saying: &str| {
        for result in [store.load_directory(files), store.load_archive(files.archive(false))] {
            let error = result.expect_err("is refused").to_string();
            assert!(error.contains(saying), "‘{error}’ does not say ‘{saying}’");
        }
    };
    let mut files = Files::default();
    let mut manifest = TestImage::new(1).manifest();
    manifest["config"]["mediaType"] = json!("application/vnd.example");
    manifest["annotations"] = json!({ "a": "x".repeat(1 << 20) });
    let manifest = files.add_document(&manifest, "application/vnd.oci.image.manifest.v1+json");
    let inner = files.add_index(&vec![manifest; 15_000]);
    files.set_index(&vec![inner; 15_000]);
    let begun = Instant::now();
    refuses(&files, "no container image");
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());

    // Another one each time, with one large configuration.
    let mut files = Files::default();
    let mut image = TestImage::new(1);
    image.config["padding"] = json!("x".repeat(3 << 20));
    let entries: Vec<Value> = (0..20)
        .map(|i| {
            let mut manifest = image.manifest();
            manifest["annotations"] = json!({ "i": i.to_string() });
            files.add_document(&manifest, "application/vnd.oci.image.manifest.v1+json")
        })
        .collect();
    image.add_to(&mut files);
    files.set_index(&entries);
    refuses(&files, "larger than 33554432 bytes together");
    let mut docker = image.docker_save(&["x:1"]);
    let list: Value = serde_json::from_slice(&docker.0["manifest.json"]).expect("JSON");
    let list = json!(vec![list[0].clone(); 20]);
    docker.0.insert("manifest.json".into(), list.to_string().into_bytes());
    let error = store.load_archive(docker.archive(false)).expect_err("is refused").to_string();
    assert!(error.contains("larger than 33554432 bytes together"), "{error}");
    assert!(store.is_empty());
}

#[test]
fn documents_and_names_are_counted() {
    let limited = Limited::new(|limits| limits.archive.documents = 4);
    let load = |files: &Files| limited.load(files.archive(false));
    let mut files = Files::default();
    let entries: Vec<Value> = (1..=3).map(|seed| TestImage::new(seed).add_to(&mut files)).collect();
    files.set_index(&entries);
    assert!(load(&files).expect_err("has six").to_string().contains("more than 4 documents"));
    files.set_index(&entries[..2]);
    load(&files).expect("has four");

    let mut files = Files::default();
    let descriptor = TestImage::new(1).add_to(&mut files);
    let named = |i| {
        let mut descriptor = descriptor.clone();
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": format!("x:{i}") });
        descriptor
    };
    files.set_index(&(0..5).map(named).collect::<Vec<_>>());
    assert!(load(&files).expect_err("has five").to_string().contains("more than 4 names"));
    files.set_index(&(0..4).map(named).collect::<Vec<_>>());
    assert_eq!(load(&files).expect("has four").len(), 4);
}
