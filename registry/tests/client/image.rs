//! Images for the servers to give out.

use std::io::Write;

use rootfs_builder::digest::Digest;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image in parts.
#[derive(Clone)]
pub struct Image {
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    pub layers: Vec<Vec<u8>>,
}

/// One layer for each length: a file of so many bytes that cannot be compressed, and differ by `seed`.
pub fn image(architecture: &str, seed: u64, lengths: &[usize]) -> Image {
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    for (index, length) in lengths.iter().enumerate() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(*length as u64);
        header.set_mode(0o644);
        let content = noise(seed * 1000 + index as u64, *length);
        tar.append_data(&mut header, format!("file-{index}"), content.as_slice()).unwrap();
        let tar = tar.into_inner().unwrap();
        diff_ids.push(Digest::of(&tar).to_string());
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        layers.push(gzip.finish().unwrap());
    }
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = config.to_string().into_bytes();
    let descriptor = |kind: &str, bytes: &[u8]| serde_json::json!({ "mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len() });
    let layer = |bytes: &Vec<u8>| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", bytes);
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    });
    Image { manifest: manifest.to_string().into_bytes(), config, layers }
}

/// An index of images by their architectures.
pub fn index(images: &[(&str, &Image)]) -> Vec<u8> {
    let entry = |(architecture, image): &(&str, &Image)| {
        serde_json::json!({
            "mediaType": MANIFEST, "digest": Digest::of(&image.manifest), "size": image.manifest.len(),
            "platform": { "os": "linux", "architecture": architecture },
        })
    };
    let manifests: Vec<_> = images.iter().map(entry).collect();
    serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests })
        .to_string()
        .into_bytes()
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(|_| step()).collect()
}
