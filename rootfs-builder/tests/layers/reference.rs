//! umoci as the reference.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub struct Unpacked {
    directory: TempDir,
}

impl Unpacked {
    /// Has umoci unpack an image of these layers; what it says, if it refuses.
    pub fn new(tars: &[Vec<u8>]) -> Result<Unpacked, String> {
        let directory = TempDir::new().unwrap();
        let layout = directory.path().join("oci");
        write_layout(&layout, tars);
        let output = Command::new("umoci")
            .args(["raw", "unpack", "--image"])
            .arg(format!("{}:test", layout.display()))
            .arg(directory.path().join("rootfs"))
            .output()
            .expect("umoci runs");
        match output.status.success() {
            true => Ok(Unpacked { directory }),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("rootfs")
    }
}

fn write_layout(layout: &Path, tars: &[Vec<u8>]) {
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let blob = |kind: &str, content: &[u8]| -> Value {
        let digest: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(layout.join("blobs/sha256").join(&digest), content).unwrap();
        let media_type = format!("application/vnd.oci.image.{kind}");
        json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": content.len()})
    };
    let layers: Vec<Value> = tars.iter().map(|tar| blob("layer.v1.tar", tar)).collect();
    let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}
    });
    let config = blob("config.v1+json", config.to_string().as_bytes());
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
    let mut manifest = blob("manifest.v1+json", manifest.to_string().as_bytes());
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "test"});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
}
