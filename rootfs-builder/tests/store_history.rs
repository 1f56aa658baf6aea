//! What an image's layers cost and hide, and one more name for it.

mod store_support;

use rootfs_builder::digest::Digest;
use rootfs_builder::store::Error;
use serde_json::json;
use store_support::{TestImage, TestStore, compress, layer_tar, noise};

const LARGE: usize = 50 << 20;

/// Layers that write a large file and small ones, remove the one and replace one of the others, and move one.
fn image() -> TestImage {
    let tars = [
        layer_tar(&[("large", &vec![7; LARGE]), ("etc/replaced", b"one\n"), ("etc/kept", b"one\n")]),
        layer_tar(&[(".wh.large", b""), ("etc/replaced", b"two\n"), ("srv/plain", &noise(3, 5000))]),
        layer_tar(&[("srv/.wh..wh..opq", b""), ("srv/other", b"three\n")]),
    ];
    let layers = tars.iter().map(|tar| (compress("zstd", tar), Digest::of(tar))).collect();
    TestImage::of_layers(layers)
}

#[test]
fn what_later_layers_hide_is_counted_to_the_byte() {
    let test = TestStore::new();
    let mut image = image();
    image.config["history"] = json!([
        { "created": "2024-05-01T10:00:00Z", "created_by": "one" },
        { "created_by": "ENV A=1", "empty_layer": true, "comment": "nothing" },
        { "created_by": "two" },
    ]);
    test.load_directory(&image.layout("a:1")).expect("loads");
    let history = test.store.history(&test.store.resolve("a:1").expect("resolves")).expect("merges");
    let by: Vec<&str> = history.iter().map(|entry| entry.created_by.as_str()).collect();
    assert_eq!(by, ["", "two", "ENV A=1", "one"], "the latest first; the third layer is in no history");
    assert_eq!(history[2].layer, None);
    assert_eq!(history[2].comment, "nothing");
    let sizes: Vec<(u64, u64)> = history
        .iter()
        .filter_map(|entry| entry.layer.as_ref())
        .map(|layer| (layer.size, layer.wasted))
        .collect();
    // A small file is its inode of 64 bytes and its content, to the next 32; all of them share one block here.
    let (block, small) = (4096, 96);
    assert_eq!(sizes[0], (block, 0));
    assert_eq!(sizes[1], (3 * block, 2 * block), "the opaque directory hides a file of 5000 bytes");
    assert_eq!(sizes[2], (LARGE as u64 + block, LARGE as u64 + small));
    assert_eq!(history[3].layer.as_ref().map(|layer| layer.diff_id), Some(image.layers[0].1));
}

#[test]
fn a_file_that_still_has_a_name_is_not_wasted() {
    let mut first = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, link: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        if link.is_empty() {
            first.append_data(&mut header, path, content).expect("appends");
        } else {
            first.append_link(&mut header, path, link).expect("appends");
        }
    };
    let content = noise(1, 10_000);
    add("one", tar::EntryType::Regular, "", &content);
    add("other", tar::EntryType::Link, "one", b"");
    let first = first.into_inner().expect("finishes");
    let wasted = |removed: &[(&str, &[u8])]| {
        let tars = [first.clone(), layer_tar(removed)];
        let layers = tars.iter().map(|tar| (compress("none", tar), Digest::of(tar))).collect();
        let test = TestStore::new();
        test.load_directory(&TestImage::of_layers(layers).layout("a:1")).expect("loads");
        let history = test.store.history(&test.store.resolve("a:1").expect("resolves")).expect("merges");
        history[1].layer.as_ref().expect("a layer").wasted
    };
    assert_eq!(wasted(&[(".wh.one", b"")]), 0);
    assert_eq!(wasted(&[(".wh.one", b""), (".wh.other", b"")]), 12_288);
}

#[test]
fn a_tag_is_one_more_name() {
    let test = TestStore::new();
    let (one, two) = (TestImage::new(1), TestImage::new(2));
    test.load_directory(&one.layout("one:1")).expect("loads");
    test.load_directory(&two.layout("two:1")).expect("loads");
    let tag = |source: &str, target: &str| test.store.tag(source, &target.parse().expect("a name"));
    assert_eq!(tag("one:1", "localhost:5000/team/app").expect("tags").0, one.id());
    assert_eq!(tag(&one.id().short(), "by-id:2").expect("tags").0, one.id());
    let names = |id: Digest| -> Vec<String> {
        test.listed().into_iter().filter(|listed| listed.1 == id).map(|listed| listed.0).collect()
    };
    assert_eq!(names(one.id()), ["by-id:2", "one:1", "localhost:5000/team/app:latest"]);
    tag("two:1", "one:1").expect("takes the name away");
    assert_eq!(names(one.id()), ["by-id:2", "localhost:5000/team/app:latest"]);
    assert_eq!(names(two.id()), ["one:1", "two:1"]);
    assert!(matches!(tag("three", "x"), Err(Error::NotFound(_))));
    let digest = format!("x@{}", one.id());
    assert!(matches!(tag("two:1", &digest), Err(Error::DigestInName(_))));
    test.check();
}
