//! Images made for tests, in every form that the store reads.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use rootfs_builder::digest::Digest;
use rootfs_builder::layer::table::Table;
use rootfs_builder::progress::Silent;
use rootfs_builder::store::{Error, LoadSource, Loaded, Store};
use serde_json::{Value, json};

pub const FORMS: [&str; 5] = ["none", "gzip", "zstd", "xz", "bzip2"];
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A layer's tar with files at these paths.
pub fn layer_tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        tar.append_data(&mut header, path, *content).expect("appends");
    }
    tar.into_inner().expect("finishes")
}

pub fn compress(form: &str, bytes: &[u8]) -> Vec<u8> {
    match form {
        "none" => bytes.to_vec(),
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).expect("encodes");
            encoder.finish().expect("encodes")
        }
        "zstd" => zstd::encode_all(bytes, 1).expect("encodes"),
        "xz" => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
            encoder.write_all(bytes).expect("encodes");
            encoder.finish().expect("encodes")
        }
        "bzip2" => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(bytes).expect("encodes");
            encoder.finish().expect("encodes")
        }
        other => panic!("no such form: {other}"),
    }
}

/// Files by path: what a layout directory or an archive consists of.
#[derive(Clone, Default)]
pub struct Files(pub BTreeMap<String, Vec<u8>>);

/// An image before it is written in one form or another.
#[derive(Clone)]
pub struct TestImage {
    pub config: Value,
    /// Compressed, and its diff ID.
    pub layers: Vec<(Vec<u8>, Digest)>,
}

impl TestImage {
    /// Two layers, big enough not to be taken for documents.
    pub fn new(seed: u64) -> TestImage {
        let tars = [
            layer_tar(&[("etc/os-release", b"ID=test\n"), ("bin/sh", &noise(seed, 100_000))]),
            layer_tar(&[
                ("etc/motd", b"hello\n"),
                ("bin/.wh.sh", b""),
                ("srv/data", &noise(seed + 1, 90_000)),
            ]),
        ];
        let layers = tars.iter().map(|tar| (compress("gzip", tar), Digest::of(tar))).collect();
        TestImage::of_layers(layers)
    }

    pub fn of_layers(layers: Vec<(Vec<u8>, Digest)>) -> TestImage {
        let mut image = TestImage { config: json!({}), layers };
        image.config = json!({
            "architecture": "amd64", "os": "linux", "created": "2024-05-01T10:00:00Z",
            "config": { "Cmd": ["/bin/sh"], "Env": ["A=1"], "WorkingDir": "/srv", "Unknown": [1, {}] },
            "rootfs": { "type": "layers", "diff_ids": image.diff_ids() },
            "history": [], "moby.buildkit.cache.v0": null,
        });
        image
    }

    /// The same image with one more layer: its blob, compressed, and its diff ID.
    pub fn with_layer(&self, layer: (Vec<u8>, Digest)) -> TestImage {
        let mut layers = self.layers.clone();
        layers.push(layer);
        TestImage::of_layers(layers)
    }

    pub fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|(_, diff_id)| *diff_id).collect()
    }

    pub fn config_bytes(&self) -> Vec<u8> {
        self.config.to_string().into_bytes()
    }

    pub fn id(&self) -> Digest {
        Digest::of(&self.config_bytes())
    }

    pub fn manifest(&self) -> Value {
        let config = self.config_bytes();
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|(blob, _)| {
                json!({
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": Digest::of(blob), "size": blob.len(),
                })
            })
            .collect();
        json!({
            "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": Digest::of(&config), "size": config.len(),
            },
            "layers": layers,
        })
    }

    /// Adds manifest, configuration and layers as blobs; returns the manifest's descriptor.
    pub fn add_to(&self, files: &mut Files) -> Value {
        files.add_blob(&self.config_bytes());
        for (blob, _) in &self.layers {
            files.add_blob(blob);
        }
        files.add_document(&self.manifest(), MANIFEST_TYPE)
    }

    /// An OCI layout that holds this image under a name.
    pub fn layout(&self, name: &str) -> Files {
        let mut files = Files::default();
        let mut descriptor = self.add_to(&mut files);
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        files.set_index(&[descriptor]);
        files
    }

    /// What `docker save` used to write.
    pub fn docker_save(&self, names: &[&str]) -> Files {
        let mut files = Files::default();
        let config_path = format!("{}.json", self.id().hex());
        files.0.insert(config_path.clone(), self.config_bytes());
        let mut paths = Vec::new();
        for (blob, _) in &self.layers {
            let directory = Digest::of(blob).hex();
            files.0.insert(format!("{directory}/VERSION"), b"1.0".to_vec());
            files.0.insert(format!("{directory}/json"), b"{}".to_vec());
            files.0.insert(format!("{directory}/layer.tar"), blob.clone());
            paths.push(format!("{directory}/layer.tar"));
        }
        let manifest = json!([{ "Config": config_path, "RepoTags": names, "Layers": paths }]);
        files.0.insert("manifest.json".into(), manifest.to_string().into_bytes());
        files
    }
}

impl Files {
    pub fn add_blob(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.0.insert(format!("blobs/sha256/{}", digest.hex()), bytes.to_vec());
        digest
    }

    /// Adds a JSON document as a blob; returns its descriptor.
    pub fn add_document(&mut self, document: &Value, media_type: &str) -> Value {
        let bytes = document.to_string().into_bytes();
        json!({ "mediaType": media_type, "digest": self.add_blob(&bytes), "size": bytes.len() })
    }

    pub fn add_index(&mut self, entries: &[Value]) -> Value {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries });
        self.add_document(&index, INDEX_TYPE)
    }

    pub fn set_index(&mut self, entries: &[Value]) {
        let index = json!({ "schemaVersion": 2, "manifests": entries });
        self.0.insert("index.json".into(), index.to_string().into_bytes());
        self.0.insert("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
    }

    pub fn write(&self, directory: &Path) {
        for (path, bytes) in &self.0 {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("creates");
            fs::write(path, bytes).expect("writes");
        }
    }

    /// A tar of the files, in the order of their names or the reverse.
    pub fn archive(&self, reversed: bool) -> Vec<u8> {
        let mut files: Vec<(&str, &[u8])> =
            self.0.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
        if reversed {
            files.reverse();
        }
        layer_tar(&files)
    }
}

/// A store in a directory of its own, which goes when this does.
pub struct TestStore {
    pub directory: tempfile::TempDir,
    pub store: Store,
}

impl TestStore {
    pub fn new() -> TestStore {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(&directory.path().join("store")).expect("opens");
        TestStore { directory, store }
    }

    /// A path beside the store.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn load_archive(&self, bytes: Vec<u8>) -> Result<Vec<Loaded>, Error> {
        self.store.load(LoadSource::Archive(Box::new(std::io::Cursor::new(bytes))), None, &Silent)
    }

    pub fn load_directory(&self, files: &Files) -> Result<Vec<Loaded>, Error> {
        let directory = tempfile::tempdir_in(self.directory.path()).expect("a directory");
        files.write(directory.path());
        self.store.load(LoadSource::Directory(directory.path().to_path_buf()), None, &Silent)
    }

    /// Names and ids, as `vmrun images` shows them.
    pub fn listed(&self) -> Vec<(String, Digest)> {
        let images = self.store.images().expect("lists");
        let name = |reference: &Option<_>| {
            reference
                .as_ref()
                .map_or("<none>".to_owned(), |name: &rootfs_builder::reference::Reference| name.to_string())
        };
        images.iter().map(|image| (name(&image.reference), image.id.0)).collect()
    }

    pub fn is_empty(&self) -> bool {
        let count = |path: &str| fs::read_dir(self.store.root().join(path)).expect("reads").count();
        ["oci/blobs/sha256", "layers/sha256", "layers/blobs", "images/sha256", "tmp"].map(count) == [0; 5]
    }

    pub fn check(&self) {
        check_whole(self.store.root());
    }
}

/// Checks that every image which has a name is whole: its documents and layers have their digests, its disk has
/// all its parts.
pub fn check_whole(root: &Path) {
    let read = |path: PathBuf| fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let blob = |digest: &Value| {
        let digest: Digest = digest.as_str().expect("a digest").parse().expect("a digest");
        let bytes = read(root.join("oci/blobs/sha256").join(digest.hex()));
        assert_eq!(Digest::of(&bytes), digest);
        bytes
    };
    let store = Store::open(root).expect("opens");
    for image in store.images().expect("lists") {
        let resolved = store.resolve(&image.id.to_string()).expect("resolves");
        let disk = resolved.disk();
        assert_eq!(disk.length, image.size);
        for part in &disk.parts {
            assert_eq!(read(part.path.clone()).len() as u64, part.length, "{}", part.path.display());
        }
    }
    if !root.join("oci/index.json").exists() {
        return;
    }
    let index: Value = serde_json::from_slice(&read(root.join("oci/index.json"))).expect("JSON");
    for entry in index["manifests"].as_array().expect("a list") {
        let manifest: Value = serde_json::from_slice(&blob(&entry["digest"])).expect("JSON");
        let config: Value = serde_json::from_slice(&blob(&manifest["config"]["digest"])).expect("JSON");
        for layer in manifest["layers"].as_array().expect("a list") {
            blob(&layer["digest"]);
        }
        for diff_id in config["rootfs"]["diff_ids"].as_array().expect("a list") {
            let diff_id: Digest = diff_id.as_str().expect("a digest").parse().expect("a digest");
            let layer = root.join("layers/sha256").join(diff_id.hex());
            let table = Table::parse(read(layer.join("entries"))).expect("an entry table");
            let data = read(layer.join("data"));
            assert_eq!(data.len() as u64, table.data_bytes());
            assert_eq!(xxhash_rust::xxh3::xxh3_128(&data).to_be_bytes(), table.data_digest());
        }
    }
}
