//! Images from every kind of source, and what the store says of them afterwards.

mod store_support;

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use rootfs_builder::digest::Digest;
use rootfs_builder::progress::{LayerName, LayerOutcome, Progress, Silent};
use rootfs_builder::store::{DiskFormat, ImportConfig, LoadSource};
use serde_json::json;
use store_support::{FORMS, Files, TestImage, TestStore, compress, layer_tar, noise};

/// Remembers how each layer ended.
#[derive(Default)]
struct Outcomes(Mutex<Vec<LayerOutcome>>);

impl Progress for Outcomes {
    fn layer_finished(&self, _: &LayerName, outcome: LayerOutcome) {
        self.0.lock().expect("not poisoned").push(outcome);
    }
}

#[test]
fn a_layout_directory_becomes_an_image_that_is_found_by_name_and_id() {
    let store = TestStore::new();
    let image = TestImage::new(1);
    let layout = store.beside("layout");
    image.layout("busybox:1.38").write(&layout);

    let outcomes = Outcomes::default();
    let loaded = store.store.load(LoadSource::Directory(layout.clone()), None, &outcomes).expect("loads");
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].id.0, image.id());
    assert_eq!(loaded[0].reference.as_ref().map(ToString::to_string).as_deref(), Some("busybox:1.38"));
    assert_eq!(*outcomes.0.lock().expect("lock"), [LayerOutcome::Built; 2]);

    let outcomes = Outcomes::default();
    store.store.load(LoadSource::Directory(layout), None, &outcomes).expect("loads again");
    assert_eq!(*outcomes.0.lock().expect("lock"), [LayerOutcome::AlreadyHere; 2]);
    assert_eq!(store.listed(), [("busybox:1.38".to_owned(), image.id())]);

    let hex = image.id().hex();
    for name in [
        "busybox:1.38",
        "docker.io/library/busybox:1.38",
        &hex,
        &hex[..12],
        &hex[..1],
        &format!("sha256:{hex}"),
    ] {
        let found = store.store.resolve(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found.id().0, image.id());
    }
    let found =
        store.store.resolve(&format!("busybox@{}", Digest::of(image.manifest().to_string().as_bytes())));
    let found = found.expect("by its manifest's digest");
    assert_eq!(found.config().cmd, ["/bin/sh"]);
    assert_eq!(found.config().workdir, "/srv");
    assert_eq!(found.created(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_714_557_600)));
    for name in ["busybox", "other:1.38", "localhost/busybox:1.38", "ffffffffffff0"] {
        assert!(store.store.resolve(name).is_err(), "{name}");
    }
    store.check();
}

#[test]
fn the_exported_disk_is_its_parts_one_after_another() {
    let store = TestStore::new();
    store.load_directory(&TestImage::new(2).layout("x:1")).expect("loads");
    let image = store.store.resolve("x:1").expect("resolves");
    let path = store.beside("disk");
    let length = store
        .store
        .export_rootfs(&image, DiskFormat::Erofs, &mut fs::File::create(&path).expect("creates"))
        .expect("exports");
    let expected: Vec<u8> =
        image.disk().parts.iter().flat_map(|part| fs::read(&part.path).expect("reads")).collect();
    assert_eq!((length, fs::read(&path).expect("reads")), (expected.len() as u64, expected));
    let output =
        std::process::Command::new("fsck.erofs").arg(&path).output().expect("erofs-utils is installed");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn layers_are_told_by_content_whatever_the_manifest_says() {
    let tars: Vec<Vec<u8>> =
        (0..FORMS.len()).map(|i| layer_tar(&[(&format!("f{i}"), &noise(i as u64, 70_000))])).collect();
    let layers = FORMS.iter().zip(&tars).map(|(form, tar)| (compress(form, tar), Digest::of(tar))).collect();
    let image = TestImage::of_layers(layers);
    for archive in [false, true] {
        let store = TestStore::new();
        let files = image.layout("x:1");
        let loaded =
            if archive { store.load_archive(files.archive(false)) } else { store.load_directory(&files) };
        assert_eq!(loaded.expect("loads")[0].id.0, image.id());
        assert_eq!(store.store.resolve("x:1").expect("resolves").disk().parts.len(), 1 + FORMS.len());
        store.check();
    }
}

#[test]
fn blobs_may_be_links_and_the_text_of_links() {
    for real_links in [true, false] {
        let store = TestStore::new();
        let image = TestImage::new(3);
        let layout = store.beside("layout");
        image.layout("x:1").write(&layout);
        for entry in fs::read_dir(layout.join("blobs/sha256")).expect("reads") {
            let path = entry.expect("reads").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            fs::rename(&path, layout.join(&name)).expect("moves");
            let target = format!("../../{name}");
            match real_links {
                true => symlink(target, &path).expect("links"),
                false => fs::write(&path, target).expect("writes"),
            }
        }
        let loaded = store.store.load(LoadSource::Directory(layout), None, &Silent).expect("loads");
        assert_eq!(loaded[0].id.0, image.id());
        store.check();
    }
}

#[test]
fn archives_are_read_in_any_order_and_compression() {
    let image = TestImage::new(4);
    for form in FORMS {
        for reversed in [false, true] {
            for files in [image.layout("docker.io/library/x:1"), image.docker_save(&["x:1"])] {
                let store = TestStore::new();
                let archive = compress(form, &files.archive(reversed));
                let loaded = store.load_archive(archive).unwrap_or_else(|error| panic!("{form}: {error}"));
                assert_eq!(loaded[0].id.0, image.id());
                assert_eq!(store.listed(), [("x:1".to_owned(), image.id())]);
                store.check();
            }
        }
    }
}

#[test]
fn docker_archives_share_layers_by_links_and_have_several_names() {
    let tar = layer_tar(&[("a", &noise(9, 80_000))]);
    let layer = (tar.clone(), Digest::of(&tar));
    let image = TestImage::of_layers(vec![layer.clone(), layer]);
    let first = Digest::of(&tar).hex();
    let mut archive = tar::Builder::new(Vec::new());
    let mut files = image.docker_save(&["x:1", "y.example/z:2"]);
    let manifest = json!([{
        "Config": format!("{}.json", image.id().hex()),
        "RepoTags": ["x:1", "y.example/z:2"],
        "Layers": ["other/layer.tar", format!("{first}/layer.tar")],
    }]);
    files.0.insert("manifest.json".into(), manifest.to_string().into_bytes());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, "other/layer.tar", format!("../{first}/layer.tar")).expect("appends");
    let mut bytes = archive.into_inner().expect("finishes");
    bytes.truncate(bytes.len() - 1024);
    bytes.extend(files.archive(false));

    let store = TestStore::new();
    let loaded = store.load_archive(bytes).expect("loads");
    let names: Vec<String> =
        loaded.iter().flat_map(|loaded| &loaded.reference).map(ToString::to_string).collect();
    assert_eq!(names, ["x:1", "y.example/z:2"]);
    assert_eq!(store.store.resolve("x:1").expect("resolves").disk().parts.len(), 3);
    store.check();
}

#[test]
fn the_form_that_carries_both_takes_its_names_from_dockers_list() {
    let image = TestImage::new(5);
    let mut files = image.layout("1");
    let paths: Vec<String> =
        image.layers.iter().map(|(blob, _)| format!("blobs/sha256/{}", Digest::of(blob).hex())).collect();
    let manifest = json!([{
        "Config": format!("blobs/sha256/{}", image.id().hex()), "RepoTags": ["x:1"], "Layers": paths,
    }]);
    files.0.insert("manifest.json".into(), manifest.to_string().into_bytes());
    let store = TestStore::new();
    let loaded = store.load_archive(files.archive(false)).expect("loads");
    assert_eq!(store.listed(), [("x:1".to_owned(), image.id())]);
    assert_eq!(loaded[0].warnings, [""; 0]);
    // And again from what is known by then, without the layout.
    files.0.remove("index.json");
    assert_eq!(store.load_archive(files.archive(true)).expect("loads")[0].id.0, image.id());
    store.check();
}

#[test]
fn of_an_index_the_image_for_this_platform_is_taken() {
    let wanted = TestImage::new(6);
    let mut other = TestImage::new(60);
    other.config["architecture"] = json!("arm64");
    let mut files = Files::default();
    let platform = |mut descriptor: serde_json::Value, os: &str, architecture: &str| {
        descriptor["platform"] = json!({ "os": os, "architecture": architecture });
        descriptor
    };
    let arm = platform(other.add_to(&mut files), "linux", "arm64");
    let attestation = platform(
        files.add_document(&json!({}), "application/vnd.oci.image.manifest.v1+json"),
        "unknown",
        "unknown",
    );
    let newer = {
        let mut descriptor = platform(TestImage::new(61).add_to(&mut files), "linux", "amd64");
        descriptor["platform"]["variant"] = json!("v3");
        descriptor
    };
    let amd = platform(wanted.add_to(&mut files), "linux", "amd64");
    let inner = files.add_index(&[arm, attestation, newer, amd]);
    let mut outer = files.add_index(&[inner]);
    outer["annotations"] = json!({ "io.containerd.image.name": "docker.io/library/x:1",
        "org.opencontainers.image.ref.name": "1" });
    files.set_index(&[outer]);
    for archive in [false, true] {
        let store = TestStore::new();
        let loaded =
            if archive { store.load_archive(files.archive(true)) } else { store.load_directory(&files) };
        loaded.expect("loads");
        assert_eq!(store.listed(), [("x:1".to_owned(), wanted.id())]);
        store.check();
    }
}

#[test]
fn a_given_name_replaces_those_of_the_archive() {
    let store = TestStore::new();
    let name = "given:2".parse().expect("a name");
    let load = |bytes: Vec<u8>| {
        store.store.load(LoadSource::Archive(Box::new(std::io::Cursor::new(bytes))), Some(&name), &Silent)
    };
    let image = TestImage::new(7);
    load(image.layout("latest").archive(false)).expect("loads");
    assert_eq!(store.listed(), [("given:2".to_owned(), image.id())]);

    let mut files = Files::default();
    let entries = [TestImage::new(70).add_to(&mut files), TestImage::new(71).add_to(&mut files)];
    files.set_index(&entries);
    let error = load(files.archive(false)).expect_err("which one?");
    assert!(error.to_string().starts_with("2 images"), "{error}");
    assert_eq!(store.listed().len(), 1);

    // A lone tag is no name, and the name's old holder stays without one.
    let loaded = store.load_archive(TestImage::new(72).layout("latest").archive(false)).expect("loads");
    assert_eq!((loaded[0].reference.as_ref(), loaded[0].warnings.len()), (None, 1));
    load(TestImage::new(73).layout("latest").archive(false)).expect("loads");
    let names: Vec<String> = store.listed().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["<none>", "<none>", "given:2"]);
    store.check();
}

#[test]
fn a_root_file_system_is_imported_and_the_same_one_is_the_same_image() {
    let tar = layer_tar(&[("etc/os-release", b"ID=test\n"), ("bin/sh", &noise(8, 100_000))]);
    let config = ImportConfig {
        cmd: vec!["/bin/sh".into()],
        env: vec!["PATH=/bin".into()],
        workdir: Some("/srv".into()),
        labels: [("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())].into(),
        created: Some(SystemTime::UNIX_EPOCH),
        ..ImportConfig::default()
    };
    let name = "centos:7".parse().expect("a name");
    for form in FORMS {
        let bytes = compress(form, &tar);
        let mut ids = Vec::new();
        for _ in 0..2 {
            let store = TestStore::new();
            let loaded =
                store.store.import(bytes.as_slice(), &name, config.clone(), &Silent).expect("imports");
            let image = store.store.resolve("centos:7").expect("resolves");
            assert_eq!((image.config().workdir.as_str(), image.config().user.as_str()), ("/srv", ""));
            assert_eq!(image.config().labels.len(), 2);
            assert_eq!(image.disk().parts.len(), 2);
            let blob = store.store.root().join("oci/blobs/sha256").join(Digest::of(&bytes).hex());
            let is_kept = !["xz", "bzip2"].contains(&form);
            assert_eq!(blob.exists(), is_kept, "{form}: kept as it came, if images can have that");
            ids.push((loaded.id, fs::read(store.store.root().join("oci/index.json")).expect("reads")));
            store.check();
        }
        assert_eq!(ids[0], ids[1], "{form}");
    }
}
