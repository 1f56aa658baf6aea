//! Archives of stored images, read by others and by ourselves.

mod store_support;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use rootfs_builder::digest::Digest;
use rootfs_builder::progress::Silent;
use rootfs_builder::store::{ArchiveFormat, Error, ImportConfig, LoadSource};
use serde_json::Value;
use store_support::{FORMS, TestImage, TestStore, compress, layer_tar, noise};

fn save(test: &TestStore, names: &[&str], format: ArchiveFormat) -> Result<Vec<u8>, Error> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut archive = Vec::new();
    test.store.save(&names, format, &mut archive).map(|()| archive)
}

fn skopeo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo").arg("--insecure-policy").args(arguments).output().expect("skopeo");
    assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Two images; the first has two names and is what the tests are about.
fn store() -> (TestStore, TestImage) {
    let test = TestStore::new();
    let image = TestImage::new(1);
    test.load_directory(&image.layout("team/app:1")).expect("loads");
    test.load_directory(&TestImage::new(2).layout("other:1")).expect("loads");
    test.store.tag("team/app:1", &"localhost:5000/app:2".parse().expect("a name")).expect("tags");
    (test, image)
}

#[test]
fn an_archive_is_loaded_as_the_same_image() {
    let (test, image) = store();
    for format in [ArchiveFormat::Both, ArchiveFormat::Oci, ArchiveFormat::Docker] {
        let archive = save(&test, &["team/app:1", "other:1", "localhost:5000/app:2"], format).expect("saves");
        let again = TestStore::new();
        again.load_archive(archive.clone()).unwrap_or_else(|error| panic!("{format:?}: {error}"));
        let mut listed = again.listed();
        listed.sort();
        let mut expected = test.listed();
        expected.sort();
        assert_eq!(listed, expected, "{format:?}");
        again.check();
        let other_order =
            save(&test, &["other:1", "localhost:5000/app:2", "team/app:1"], format).expect("saves");
        assert!(archive == other_order, "{format:?}: same images, same bytes");
    }
    let by_id = save(&test, &[&image.id().short()], ArchiveFormat::Both).expect("saves");
    let again = TestStore::new();
    again.load_archive(by_id).expect("loads");
    assert_eq!(again.listed(), [("<none>".to_owned(), image.id())], "whoever asks by id gets no name");
}

#[test]
fn skopeo_reads_archives() {
    let (test, image) = store();
    let both = test.beside("both.tar");
    fs::write(&both, save(&test, &["team/app:1"], ArchiveFormat::Both).expect("saves")).expect("writes");
    let kinds = ["oci-archive", "docker-archive"];
    let alone: Vec<String> = [ArchiveFormat::Oci, ArchiveFormat::Docker]
        .into_iter()
        .zip(kinds)
        .map(|(format, kind)| {
            let path = test.beside(kind);
            fs::write(&path, save(&test, &["team/app:1"], format).expect("saves")).expect("writes");
            format!("{kind}:{}", text(&path))
        })
        .collect();
    let named = |kind: &str, name: &str| format!("{kind}:{}:{name}", text(&both));
    for source in [
        named(kinds[0], "docker.io/team/app:1"),
        named(kinds[1], "team/app:1"),
        alone[0].clone(),
        alone[1].clone(),
    ] {
        let copy = test.beside("copy");
        skopeo(&["copy", "--quiet", &source, &format!("dir:{}", text(&copy))]);
        assert!(copy.join(image.id().hex()).exists(), "{source}: the configuration is the same");
        fs::remove_dir_all(&copy).expect("removes");
    }
    let seen: Value = serde_json::from_slice(&skopeo(&["inspect", &named(kinds[0], "docker.io/team/app:1")]))
        .expect("JSON");
    let manifest = image.manifest().to_string();
    assert_eq!(seen["Digest"], Digest::of(manifest.as_bytes()).to_string(), "the manifest is the same");
}

/// An archive is a layout that was packed, and what is removed while it is written goes when it is done.
#[test]
fn umoci_reads_an_unpacked_archive() {
    let (test, _) = store();
    struct Removing<'a>(&'a TestStore, Vec<u8>);
    impl Write for Removing<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.1.is_empty() {
                self.0.store.remove("other:1", false, &|_| false).expect("removes");
            }
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut out = Removing(&test, Vec::new());
    test.store.save(&["team/app:1".into()], ArchiveFormat::Both, &mut out).expect("saves");
    assert_eq!(fs::read_dir(test.store.root().join("images/sha256")).expect("reads").count(), 1);
    let layout = test.beside("unpacked");
    tar::Archive::new(&out.1[..]).unpack(&layout).expect("unpacks");
    let bundle = test.beside("bundle");
    let image = format!("{}:docker.io/team/app:1", text(&layout));
    let output =
        Command::new("umoci").args(["unpack", "--rootless", "--image", &image]).arg(&bundle).output();
    let output = output.expect("umoci");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read(bundle.join("rootfs/etc/motd")).expect("reads"), b"hello\n");
}

/// The layers of OCI images can have some compressions only; the others are kept from an archive that nobody
/// could read.
#[test]
fn compressions_without_a_media_type_are_refused_where_it_matters() {
    for form in FORMS {
        let test = TestStore::new();
        let tar = layer_tar(&[("etc/os-release", b"ID=test\n"), ("bin/sh", &noise(1, 100_000))]);
        let image = TestImage::of_layers(vec![(compress(form, &tar), Digest::of(&tar))]);
        let mut files = image.layout("a:1");
        if ["xz", "bzip2"].contains(&form) {
            let manifest = image.manifest().to_string().replace("tar+gzip", &format!("tar+{form}"));
            let manifest: Value = serde_json::from_str(&manifest).expect("JSON");
            let mut entry = files.add_document(&manifest, "application/vnd.oci.image.manifest.v1+json");
            entry["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "a:1" });
            files.set_index(&[entry]);
            test.load_directory(&files).expect("loads");
            let refused = save(&test, &["a:1"], ArchiveFormat::Both);
            assert!(matches!(refused, Err(Error::NoMediaType { .. })), "{form}");
        } else {
            test.load_directory(&files).expect("loads");
        }
        let archive = test.beside("docker.tar");
        let saved = save(&test, &["a:1"], ArchiveFormat::Docker).expect("saves");
        fs::write(&archive, saved).expect("writes");
        let copy = format!("dir:{}", text(&test.beside("copy")));
        skopeo(&["copy", "--quiet", &format!("docker-archive:{}", text(&archive)), &copy]);
        // What the message says helps.
        let again = TestStore::new();
        again.load_archive(fs::read(&archive).expect("reads")).expect("loads");
        assert_eq!(again.listed(), [("a:1".to_owned(), image.id())]);
        save(&again, &["a:1"], ArchiveFormat::Both).expect("saves");
    }
}

/// What is imported is kept in a form that others read, and is the same image in each.
#[test]
fn imported_tarballs_can_be_saved_whatever_their_compression() {
    let tar = layer_tar(&[("etc/os-release", b"ID=test\n"), ("bin/sh", &noise(1, 600_000))]);
    let created = Some(std::time::SystemTime::UNIX_EPOCH);
    let mut ids = Vec::new();
    for form in FORMS {
        let test = TestStore::new();
        let config = ImportConfig { created, ..ImportConfig::default() };
        let name = "a:1".parse().expect("a name");
        let imported = test.store.import(&compress(form, &tar)[..], &name, config, &Silent);
        ids.push(imported.expect("imports").id);
        test.check();
        let content = test.store.content(&test.store.resolve("a:1").expect("resolves")).expect("is whole");
        let kept = content.layers[0].descriptor.media_type().to_string();
        let expected = match form {
            "none" => "application/vnd.oci.image.layer.v1.tar",
            "zstd" => "application/vnd.oci.image.layer.v1.tar+zstd",
            _ => "application/vnd.oci.image.layer.v1.tar+gzip",
        };
        assert_eq!(kept, expected, "{form}");
        let archive = test.beside("oci.tar");
        fs::write(&archive, save(&test, &["a:1"], ArchiveFormat::Both).expect("saves")).expect("writes");
        let copy = format!("dir:{}", text(&test.beside("copy")));
        skopeo(&["copy", "--quiet", &format!("oci-archive:{}", text(&archive)), &copy]);
        let again = TestStore::new();
        again.load_archive(fs::read(&archive).expect("reads")).expect("loads");
        assert_eq!(again.listed(), [("a:1".to_owned(), ids[0].0)]);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "one image");
}

#[test]
fn damage_and_a_full_disk_are_told() {
    let (test, image) = store();
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let result = test.store.save(&["other:1".into()], ArchiveFormat::Both, &mut Full);
    assert!(matches!(result, Err(Error::Output(_))), "{result:?}");
    let blob = test.store.blob_path(&Digest::of(&image.layers[0].0));
    let mut bytes = fs::read(&blob).expect("reads");
    bytes[100] ^= 1;
    fs::write(&blob, &bytes).expect("writes");
    assert!(matches!(save(&test, &["team/app:1"], ArchiveFormat::Both), Err(Error::Damaged { .. })));
    bytes.truncate(100);
    fs::write(&blob, &bytes).expect("writes");
    assert!(matches!(save(&test, &["team/app:1"], ArchiveFormat::Both), Err(Error::Damaged { .. })));
    fs::remove_file(&blob).expect("removes");
    assert!(matches!(save(&test, &["team/app:1"], ArchiveFormat::Both), Err(Error::Io { .. })));
    assert!(matches!(save(&test, &["no-such"], ArchiveFormat::Both), Err(Error::NotFound(_))));
}

#[test]
fn an_archive_of_an_archive_is_read_again() {
    let (test, image) = store();
    let path = test.beside("saved.tar");
    fs::write(&path, save(&test, &["team/app:1"], ArchiveFormat::Both).expect("saves")).expect("writes");
    let name = "renamed:3".parse().expect("a name");
    let source = LoadSource::Archive(Box::new(fs::File::open(&path).expect("opens")));
    test.store.load(source, Some(&name), &Silent).expect("loads");
    assert_eq!(test.store.resolve("renamed:3").expect("resolves").id().0, image.id());
}
