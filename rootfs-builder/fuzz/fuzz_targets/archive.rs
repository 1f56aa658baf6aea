//! The archive reader: what an archive holds and which images are in it, up to the bytes of its layers.
//!
//! Half of the inputs are archives as they are, the other half are built: tars whose documents refer to one
//! another by digests that are right more often than not, for random bytes would never get past them.

#![no_main]

use std::io::{Cursor, Read};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rootfs_builder::archive::{self, Contents, Error, Limits};
use rootfs_builder::digest::Digest;
use rootfs_builder::image::Platform;
use serde_json::{Value, json};

#[derive(Arbitrary, Debug)]
enum Input {
    Raw(Vec<u8>),
    Built { entries: Vec<Entry>, cut: Option<u16>, flipped: Option<u16> },
}

#[derive(Arbitrary, Debug)]
enum Entry {
    Blob(Content),
    Index(Vec<Descriptor>),
    DockerList { config: Pick, names: Vec<String>, layers: Vec<Pick> },
    OciLayout(u8),
    File { path: String, content: Vec<u8> },
    Link { path: String, target: Pick, hard: bool },
}

#[derive(Arbitrary, Debug)]
enum Content {
    Bytes(Vec<u8>),
    Large(u8),
    Index(Vec<Descriptor>),
    Manifest { config: Descriptor, layers: Vec<Descriptor> },
    Config { architecture: u8, diff_ids: Vec<Pick> },
}

/// One of the blobs before it, or one that is not there.
#[derive(Arbitrary, Debug)]
struct Pick(u8);

#[derive(Arbitrary, Debug)]
struct Descriptor {
    blob: Pick,
    kind: u8,
    platform: u8,
    name: Option<String>,
    wrong_size: Option<u64>,
}

type Blobs = Vec<(Digest, u64)>;

impl Pick {
    fn of(&self, blobs: &Blobs) -> (Digest, u64) {
        let missing = || (Digest::of(b"not there"), 9);
        blobs.get(usize::from(self.0) % (blobs.len() + 1)).copied().unwrap_or_else(missing)
    }

    fn path(&self, blobs: &Blobs) -> String {
        format!("blobs/sha256/{}", self.of(blobs).0.hex())
    }
}

impl Descriptor {
    fn json(&self, blobs: &Blobs) -> Value {
        const KINDS: [&str; 6] = [
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.oci.image.index.v1+json",
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.docker.distribution.manifest.list.v2+json",
            "application/vnd.docker.container.image.v1+json",
        ];
        let (digest, size) = self.blob.of(blobs);
        let mut descriptor = json!({
            "mediaType": KINDS[usize::from(self.kind) % KINDS.len()],
            "digest": digest,
            "size": self.wrong_size.unwrap_or(size),
        });
        if self.platform % 4 != 0 {
            let architecture = ["amd64", "amd64", "arm64", ""][usize::from(self.platform % 4)];
            descriptor["platform"] = json!({ "os": "linux", "architecture": architecture });
        }
        if let Some(name) = &self.name {
            descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        }
        descriptor
    }
}

fn list(descriptors: &[Descriptor], blobs: &Blobs) -> Vec<Value> {
    descriptors.iter().map(|descriptor| descriptor.json(blobs)).collect()
}

impl Content {
    fn bytes(&self, blobs: &Blobs) -> Vec<u8> {
        let document = match self {
            Content::Bytes(bytes) => return bytes.clone(),
            Content::Large(byte) => return vec![*byte; (64 << 10) + usize::from(*byte)],
            Content::Index(entries) => json!({ "schemaVersion": 2, "manifests": list(entries, blobs) }),
            Content::Manifest { config, layers } => json!({
                "schemaVersion": 2, "config": config.json(blobs), "layers": list(layers, blobs),
            }),
            Content::Config { architecture, diff_ids } => json!({
                "architecture": if architecture % 4 == 0 { "arm64" } else { "amd64" },
                "os": "linux",
                "rootfs": {
                    "type": "layers",
                    "diff_ids": diff_ids.iter().map(|pick| pick.of(blobs).0).collect::<Vec<_>>(),
                },
            }),
        };
        document.to_string().into_bytes()
    }
}

fn build(entries: &[Entry]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut blobs = Blobs::new();
    for entry in entries {
        let (path, bytes) = match entry {
            Entry::Blob(content) => {
                let bytes = content.bytes(&blobs);
                let digest = Digest::of(&bytes);
                blobs.push((digest, bytes.len() as u64));
                (format!("blobs/sha256/{}", digest.hex()), bytes)
            }
            Entry::Index(manifests) => {
                let index = json!({ "schemaVersion": 2, "manifests": list(manifests, &blobs) });
                ("index.json".to_owned(), index.to_string().into_bytes())
            }
            Entry::DockerList { config, names, layers } => {
                let layers: Vec<String> = layers.iter().map(|layer| layer.path(&blobs)).collect();
                let listed = json!([{ "Config": config.path(&blobs), "RepoTags": names, "Layers": layers }]);
                ("manifest.json".to_owned(), listed.to_string().into_bytes())
            }
            Entry::OciLayout(version) => {
                let layout = json!({ "imageLayoutVersion": format!("{}.0.0", version % 3) });
                ("oci-layout".to_owned(), layout.to_string().into_bytes())
            }
            Entry::File { path, content } => (path.clone(), content.clone()),
            Entry::Link { path, target, hard } => {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(if *hard { tar::EntryType::Link } else { tar::EntryType::Symlink });
                header.set_size(0);
                let _ = tar.append_link(&mut header, path, target.path(&blobs));
                continue;
            }
        };
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        let _ = tar.append_data(&mut header, path, bytes.as_slice());
    }
    tar.into_inner().unwrap_or_default()
}

fn read(bytes: Vec<u8>) {
    let limits = Limits {
        document_bytes: 128 << 10,
        all_documents_bytes: 1 << 20,
        documents: 256,
        layers: 16,
        archive_entries: 256,
        archive_bytes: 16 << 20,
    };
    let take = |_: &str, size: u64, content: &mut dyn Read| {
        let mut content = content.take(1 << 20);
        let read = std::io::copy(&mut content, &mut std::io::sink()).map_err(Error::Read)?;
        assert!(read == size.min(1 << 20), "an entry has the size that was announced");
        Ok::<u64, Error>(read)
    };
    let Ok(contents): Result<Contents<u64>, Error> = archive::read(Cursor::new(bytes), &limits, take) else {
        return;
    };
    if let Some(index) = contents.document("index.json")
        && let Ok(images) = archive::find_images(index, &contents, &limits)
    {
        for image in images {
            assert!(image.layers.len() <= limits.layers);
            let checked =
                archive::check_config("the configuration", &image.config, &Platform::default(), &limits);
            assert_eq!(checked.map(|checked| checked.diff_ids.len()).ok(), Some(image.layers.len()));
        }
    }
    if let Some(listed) = contents.document("manifest.json") {
        let _ = archive::docker_images(listed, |path| contents.document(path), &limits);
    }
}

fuzz_target!(|input: Input| {
    match input {
        Input::Raw(bytes) => read(bytes),
        Input::Built { entries, cut, flipped } => {
            let mut bytes = build(&entries);
            if let Some(flipped) = flipped.map(usize::from).filter(|at| *at < bytes.len()) {
                bytes[flipped] ^= 1;
            }
            bytes.truncate(cut.map_or(usize::MAX, usize::from));
            read(bytes);
        }
    }
});
