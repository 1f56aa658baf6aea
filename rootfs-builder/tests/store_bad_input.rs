//! Input that is damaged, hostile or not what it says: one clear line each, and a store as it was.

mod store_support;

use std::path::Path;

use rootfs_builder::digest::Digest;
use rootfs_builder::progress::Silent;
use rootfs_builder::store::{ImportConfig, LoadSource};
use serde_json::{Value, json};
use store_support::{FORMS, Files, TestImage, TestStore, compress, layer_tar, noise};

/// A store that already holds an image, which must survive what is done to it.
struct Bystander {
    store: TestStore,
    before: Vec<(String, Digest)>,
}

impl Bystander {
    fn new() -> Bystander {
        let store = TestStore::new();
        store.load_directory(&TestImage::new(100).layout("kept:1")).expect("loads");
        Bystander { before: store.listed(), store }
    }

    #[track_caller]
    fn refused(
        &self,
        what: &str,
        result: Result<impl std::fmt::Debug, impl std::fmt::Display>,
        saying: &str,
    ) {
        let error = result.expect_err(what).to_string();
        assert!(error.contains(saying), "{what}: ‘{error}’ does not say ‘{saying}’");
        assert!(!error.contains('\n') && error.len() < 500, "{what}: {error}");
        assert_eq!(self.store.listed(), self.before, "{what}");
    }

    #[track_caller]
    fn refuses(&self, what: &str, files: &Files, saying: &str) {
        self.refused(what, self.store.load_directory(files), saying);
        self.refused(what, self.store.load_archive(files.archive(false)), saying);
        self.refused(what, self.store.load_archive(files.archive(true)), saying);
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.store.check();
            self.store.store.remove("kept:1", false, &|_| false).expect("removes");
            assert!(self.store.is_empty(), "nothing that was refused has left anything behind");
        }
    }
}

#[test]
fn what_is_no_image_is_refused() {
    let store = Bystander::new();
    let archive = |bytes: &[u8]| store.store.load_archive(bytes.to_vec());
    store.refused("empty", archive(b""), "empty");
    store.refused("zeroes", archive(&[0; 10240]), "empty");
    store.refused(
        "text",
        archive(&b"no image ".repeat(500)),
        "neither an OCI image layout nor a docker archive",
    );
    store.refused("short text", archive(b"no image"), "neither");
    store.refused("noise", archive(&noise(1, 100_000)), "neither");
    let rootfs = layer_tar(&[("etc/passwd", b"root:x:0:0::/:/bin/sh\n"), ("bin/sh", &noise(1, 100_000))]);
    store.refused("a root file system", archive(&rootfs), "vmrun import");
    for form in &FORMS[1..] {
        let bytes = compress(form, b"no tar at all");
        store.refused(form, archive(&bytes), "neither");
        store.refused(form, archive(&bytes[..bytes.len() - 1]), "cannot be read");
    }
    let directory = store.store.beside("nothing");
    let load = |path: &Path| store.store.store.load(LoadSource::Directory(path.into()), None, &Silent);
    store.refused("no directory", load(&directory), "no oci-layout");
    std::fs::create_dir(&directory).expect("creates");
    store.refused("empty directory", load(&directory), "no oci-layout");
}

#[test]
fn bad_documents_are_refused() {
    let store = Bystander::new();
    let image = TestImage::new(1);
    let good = image.layout("x:1");
    let with = |path: &str, bytes: &[u8]| {
        let mut files = good.clone();
        files.0.insert(path.into(), bytes.to_vec());
        files
    };
    store.refuses("bad index", &with("index.json", b"{"), "index.json cannot be understood");
    store.refuses("index of another kind", &with("index.json", br#"{"manifests":{}}"#), "index.json cannot");
    store.refuses(
        "no images",
        &with("index.json", br#"{"schemaVersion":2,"manifests":[]}"#),
        "holds no image",
    );
    store.refuses("version", &with("oci-layout", br#"{"imageLayoutVersion":"2.0"}"#), "version ‘2.0’");
    store.refuses("version", &with("oci-layout", b"[]"), "oci-layout cannot be understood");
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    store.refuses("deep JSON", &with("index.json", deep.as_bytes()), "index.json cannot be understood");

    let altered = |change: &dyn Fn(&mut Value)| {
        let mut files = Files::default();
        let mut image = image.clone();
        change(&mut image.config);
        let mut descriptor = image.add_to(&mut files);
        change(&mut descriptor);
        files.set_index(&[descriptor]);
        files
    };
    let nothing = Digest::of(b"not there");
    for (what, key, value, saying) in [
        ("missing manifest", "digest", json!(nothing), "is missing"),
        ("manifest size", "size", json!(5), "instead of 5"),
        ("huge manifest", "size", json!(100_000_000), "limit"),
        ("negative size", "size", json!(-1), "cannot be understood"),
        ("digest form", "digest", json!("sha256:../../../etc/passwd"), "cannot be"),
        ("digest kind", "digest", json!(format!("sha512:{}", "0".repeat(128))), "sha256"),
        ("no digest", "digest", json!(null), "cannot be understood"),
        ("signature", "mediaType", json!("application/vnd.example"), "no container image"),
    ] {
        store.refuses(what, &altered(&|document| document[key] = value.clone()), saying);
    }
    for (what, key, value, saying) in [
        ("no diff IDs", "rootfs", json!({ "type": "layers", "diff_ids": [] }), "2 layers, but"),
        ("one diff ID", "rootfs", json!({ "type": "layers", "diff_ids": [nothing] }), "2 layers, but"),
        ("bad diff IDs", "rootfs", json!({ "type": "layers", "diff_ids": ["a", "b"] }), "not a digest"),
        ("other architecture", "architecture", json!("arm64"), "linux/arm64"),
        ("other system", "os", json!("windows"), "windows/amd64"),
    ] {
        store.refuses(what, &altered(&|document| document[key] = value.clone()), saying);
    }
    store.refuses(
        "no rootfs",
        &altered(&|document| drop(document.as_object_mut().map(|o| o.remove("rootfs")))),
        "cannot be",
    );
    let lines = altered(&|document| document["architecture"] = json!("a\nb\u{1b}[31m"));
    store.refuses("an architecture of two lines", &lines, "linux/a\\nb");

    let mut huge = good.clone();
    let mut manifest = image.manifest();
    manifest["annotations"] = json!({ "a": "x".repeat(5 << 20) });
    let descriptor = huge.add_document(&manifest, "application/vnd.oci.image.manifest.v1+json");
    huge.set_index(&[descriptor]);
    store.refuses("a manifest of 5 MiB", &huge, "4194304 bytes, the limit");
}

#[test]
fn bad_indexes_are_refused() {
    let store = Bystander::new();
    let mut files = Files::default();
    let mut arm = TestImage::new(1);
    arm.config["architecture"] = json!("arm64");
    let mut descriptor = arm.add_to(&mut files);
    descriptor["platform"] = json!({ "os": "linux", "architecture": "arm64" });
    let index = files.add_index(&[descriptor.clone()]);
    files.set_index(&[index]);
    store.refuses("nested, without this platform", &files, "only for linux/arm64");
    files.set_index(&[descriptor]);
    store.refuses("without this platform", &files, "only for linux/arm64");

    let mut files = Files::default();
    let mut nested = TestImage::new(1).add_to(&mut files);
    for _ in 0..6 {
        nested = files.add_index(&[nested]);
    }
    files.set_index(&[nested]);
    store.refuses("too deep", &files, "nested more than 4 deep");

    // An index cannot hold its own digest, but one that is wrong, or be named twice.
    let mut files = Files::default();
    let leaf = files.add_index(&[]);
    let outer = files.add_index(&[leaf.clone(), leaf]);
    files.set_index(&[outer]);
    store.refuses("twice the same", &files, "holds no image");
    let digest = Digest::of(b"a circle");
    let circle =
        json!({ "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": 300 });
    let mut bytes = json!({ "schemaVersion": 2, "manifests": [circle.clone()] }).to_string();
    bytes.push_str(&" ".repeat(300 - bytes.len()));
    files.0.insert(format!("blobs/sha256/{}", digest.hex()), bytes.into_bytes());
    files.set_index(&[circle]);
    store.refuses("a circle", &files, "damaged");
}

#[test]
fn bad_layers_are_refused() {
    let store = Bystander::new();
    let image = TestImage::new(1);
    let path = |image: &TestImage| format!("blobs/sha256/{}", Digest::of(&image.layers[0].0).hex());

    let mut missing = image.layout("x:1");
    missing.0.remove(&path(&image));
    store.refuses("missing", &missing, "is missing");
    for (what, change, saying) in [
        ("cut short", (|blob| blob.truncate(blob.len() / 2)) as fn(&mut Vec<u8>), "cut short"),
        ("emptied", |blob| blob.clear(), "cut short"),
        ("longer", |blob| blob.extend([0; 1000]), "too long"),
        ("a bit flipped", |blob| blob[50_000] ^= 4, "its content has the digest"),
        ("the first byte flipped", |blob| blob[0] ^= 1, "its content has the digest"),
    ] {
        let mut files = image.layout("x:1");
        change(files.0.get_mut(&path(&image)).expect("a blob"));
        // In an archive the entry's size is what there is; the manifest's is compared later.
        let saying_in_archive = "layer";
        store.refused(what, store.store.load_directory(&files), saying);
        store.refused(what, store.store.load_archive(files.archive(false)), saying_in_archive);
    }

    let wrong = |blob: Vec<u8>, diff_id: Digest| {
        let mut image = image.clone();
        image.layers[1] = (blob, diff_id);
        TestImage::of_layers(image.layers)
    };
    let (blob, diff_id) = image.layers[1].clone();
    let other = wrong(blob, Digest::of(b"other files"));
    store.refuses("a wrong diff ID", &other.layout("x:1"), "does not match its diff ID");
    store.refused(
        "in docker's form",
        store.store.load_archive(other.docker_save(&["x:1"]).archive(false)),
        "diff ID",
    );
    let truncated = compress("gzip", &layer_tar(&[("a", &noise(5, 90_000))]));
    let truncated = wrong(truncated[..truncated.len() - 300].to_vec(), diff_id);
    store.refuses("cut before it was digested", &truncated.layout("x:1"), "cannot be unpacked (gzip)");
    let not_tar = noise(3, 90_000);
    let digest = Digest::of(&not_tar);
    store.refuses("no tar", &wrong(not_tar, digest).layout("x:1"), "no tar archive");
    store.refuses("empty", &wrong(Vec::new(), Digest::of(b"")).layout("x:1"), "is empty");
    let mut encrypted = Files::default();
    image.add_to(&mut encrypted);
    let mut manifest = image.manifest();
    manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
    let descriptor = encrypted.add_document(&manifest, "application/vnd.oci.image.manifest.v1+json");
    encrypted.set_index(&[descriptor]);
    store.refuses("encrypted", &encrypted, "encrypted");
}

/// Also of a layer that is here, which nobody has to read.
#[test]
fn a_manifest_that_lies_about_a_layers_size_is_refused() {
    let store = Bystander::new();
    for image in [TestImage::new(100), TestImage::new(1)] {
        for size in [5, 5_000_000] {
            let mut files = Files::default();
            image.add_to(&mut files);
            let mut manifest = image.manifest();
            manifest["layers"][0]["size"] = json!(size);
            let descriptor = files.add_document(&manifest, "application/vnd.oci.image.manifest.v1+json");
            files.set_index(&[descriptor]);
            store.refuses("the size of a layer", &files, &format!("bytes instead of {size}"));
        }
    }
}

#[test]
fn archives_cut_anywhere_are_refused() {
    let store = Bystander::new();
    let image = TestImage::new(1);
    for archive in [
        image.layout("x:1").archive(false),
        image.layout("x:1").archive(true),
        image.docker_save(&["x:1"]).archive(false),
    ] {
        // The end of a tar is two blocks of zeroes that nobody misses.
        let end = archive.len() - 1024;
        for i in 0..25 {
            let cut = end * i / 25 + i % 7;
            store.refused(
                &format!("cut at {cut} of {end}"),
                store.store.load_archive(archive[..cut].to_vec()),
                "",
            );
        }
        let compressed = compress("gzip", &archive);
        for i in 0..10 {
            let cut = compressed[..compressed.len() * i / 10].to_vec();
            store.refused(&format!("compressed, cut at {}", cut.len()), store.store.load_archive(cut), "");
        }
    }
}

/// A flipped bit is noticed, or it was in a place that means nothing (a tar header's owner): then the same image
/// comes out.
#[test]
fn flipped_bits_are_noticed() {
    let store = TestStore::new();
    let image = TestImage::new(1);
    for archive in [image.layout("x:1").archive(false), image.docker_save(&["x:1"]).archive(true)] {
        for i in 0..40u64 {
            let mut bytes = archive.clone();
            let at = (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % bytes.len() as u64) as usize;
            bytes[at] ^= 1 << (i % 8);
            match store.load_archive(bytes) {
                Ok(loaded) => assert_eq!(loaded[0].id.0, image.id(), "bit flipped at {at}"),
                Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
            }
        }
    }
    store.check();
}

#[test]
fn a_digest_is_not_given_as_a_name() {
    let store = Bystander::new();
    let digest = Digest::of(b"");
    let name = format!("x@{digest}").parse().expect("a name");
    let archive = TestImage::new(1).layout(&format!("x@{digest}")).archive(false);
    let load = |name| {
        let archive = std::io::Cursor::new(archive.clone());
        store.store.store.load(LoadSource::Archive(Box::new(archive)), name, &Silent)
    };
    store.refused("load", load(Some(&name)), "has a digest");
    let import = store.store.store.import(&b""[..], &name, ImportConfig::default(), &Silent);
    store.refused("import", import, "has a digest");
    let loaded = load(None).expect("loads, without a name");
    assert_eq!(loaded[0].reference, None);
    store.store.store.remove(&loaded[0].id.to_string(), false, &|_| false).expect("removes");
}

#[test]
fn tarballs_that_are_none_are_refused() {
    let store = Bystander::new();
    let name = "x:1".parse().expect("a name");
    let import = |bytes: &[u8]| store.store.store.import(bytes, &name, ImportConfig::default(), &Silent);
    store.refused("empty", import(b""), "the tarball is empty");
    store.refused("noise", import(&noise(1, 100_000)), "no tar archive");
    store.refused("text", import(b"hello"), "the tarball");
    let tar = layer_tar(&[("bin/sh", &noise(8, 300_000))]);
    for form in FORMS {
        let bytes = compress(form, &tar);
        store.refused(form, import(&bytes[..bytes.len() / 2]), "the tarball");
        if form != "none" {
            store.refused(
                form,
                import(&[&bytes[..], b"garbage after the end"].concat()),
                "cannot be unpacked",
            );
        }
    }
    struct Failing;
    impl std::io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the cable was pulled"))
        }
    }
    let failing = store.store.store.import(Failing, &name, ImportConfig::default(), &Silent);
    store.refused("a source that fails", failing, "the cable was pulled");
}
