//! What the store gives back of an image as it came.

mod store_support;

use std::io::Read;

use rootfs_builder::digest::Digest;
use store_support::{TestImage, TestStore};

#[test]
fn an_image_is_given_back_as_it_came() {
    let test = TestStore::new();
    let image = TestImage::new(1);
    test.load_directory(&image.layout("a:1")).expect("loads");
    let found = test.store.resolve("a:1").expect("resolves");
    let content = test.store.content(&found).expect("is whole");
    assert_eq!(content.config.bytes, image.config_bytes());
    assert_eq!(content.manifest.bytes, image.manifest().to_string().into_bytes());
    assert_eq!(content.manifest.digest, Digest::of(&content.manifest.bytes));
    assert_eq!(content.layers.len(), 2);
    for (layer, (blob, diff_id)) in content.layers.iter().zip(&image.layers) {
        assert_eq!((layer.blob, layer.size, layer.diff_id), (Digest::of(blob), blob.len() as u64, *diff_id));
        assert_eq!(layer.descriptor.media_type().to_string(), "application/vnd.oci.image.layer.v1.tar+gzip");
        let mut stored = Vec::new();
        let mut file = test.store.open_blob(&layer.blob).expect("opens");
        file.read_to_end(&mut stored).expect("reads");
        assert!(stored == *blob);
    }
}
