//! What the store takes, what of it is shared, and what pruning gives back.

mod store_support;

use std::fs;

use rootfs_builder::digest::Digest;
use rootfs_builder::store::{ImageUsage, Kind, Usage};
use store_support::{TestImage, TestStore, compress, layer_tar, noise};

/// Images `base:1` of one layer and `derived:1` of that layer and another.
fn store() -> (TestStore, TestImage, TestImage) {
    let layer = |seed: u64, path: &str| {
        let tar = layer_tar(&[(path, &noise(seed, 300_000))]);
        (compress("gzip", &tar), Digest::of(&tar))
    };
    let base = TestImage::of_layers(vec![layer(1, "base")]);
    let derived = TestImage::of_layers(vec![layer(1, "base"), layer(2, "derived")]);
    let test = TestStore::new();
    test.load_directory(&base.layout("base:1")).expect("loads");
    test.load_directory(&derived.layout("derived:1")).expect("loads");
    (test, base, derived)
}

fn usage_of(usage: &Usage, image: &TestImage) -> ImageUsage {
    usage.images.iter().find(|found| found.id.0 == image.id()).expect("is listed").clone()
}

/// Bytes of the files below the store, in whole blocks.
fn on_disk(test: &TestStore) -> u64 {
    let paths = ["layers/sha256", "images/sha256", "oci/blobs"].map(|path| test.store.root().join(path));
    let output = std::process::Command::new("du").args(["-s", "--block-size=1"]).args(&paths).output();
    let output = output.expect("du").stdout;
    let sum: u64 = String::from_utf8_lossy(&output)
        .lines()
        .map(|line| line.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).unwrap_or(0))
        .sum();
    let directories = |path: &std::path::Path| -> u64 {
        let output =
            std::process::Command::new("find").arg(path).args(["-type", "d", "-printf", "%b\n"]).output();
        let output = output.expect("find").stdout;
        String::from_utf8_lossy(&output).lines().map(|blocks| blocks.parse::<u64>().unwrap_or(0) * 512).sum()
    };
    sum - paths.iter().map(|path| directories(path)).sum::<u64>()
}

#[test]
fn sharing_is_told_to_the_block() {
    let (test, base, derived) = store();
    let usage = test.store.usage(&|_| false).expect("adds up");
    let total: u64 = usage.kinds.values().map(|kind| kind.size).sum();
    assert_eq!(total, on_disk(&test), "everything is counted, and once");
    let (base, derived) = (usage_of(&usage, &base), usage_of(&usage, &derived));
    assert_eq!(base.shared, derived.shared);
    assert_eq!(base.size + derived.size, total + base.shared, "what is shared is in both");
    assert_eq!(total, base.unique() + derived.unique() + base.shared);
    assert!(base.shared > 600_000, "the layer's data and its blob: {}", base.shared);
    assert!(base.unique() < 100_000 && derived.unique() > 600_000);
    assert_eq!(usage.layers.values().map(|layer| layer.images).collect::<Vec<_>>().iter().sum::<usize>(), 3);
    assert_eq!(usage.kinds[&Kind::LayerData].count, 2);
}

#[test]
fn what_is_reclaimable_is_reclaimed() {
    let (test, base, _) = store();
    let held = test.store.resolve("base:1").expect("resolves");
    let before = test.store.usage(&|_| false).expect("adds up");
    assert!(usage_of(&before, &base).in_use);
    let reclaimable: u64 = before.kinds.values().map(|kind| kind.reclaimable).sum();
    let dangling = test.store.prune(false, &|_| true).expect("prunes");
    assert_eq!((dangling.reclaimed, dangling.deleted.len()), (0, 0), "everything has a name");
    let pruned = test.store.prune(true, &|_| true).expect("prunes");
    let names: Vec<String> = pruned.untagged.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["derived:1"], "the other is in use");
    assert_eq!(pruned.reclaimed, reclaimable);
    assert_eq!(test.listed().len(), 1);
    test.check();
    drop(held);
    let needed = test.store.usage(&|id| id.0 == base.id()).expect("adds up");
    assert!(usage_of(&needed, &base).in_use && needed.kinds.values().all(|kind| kind.reclaimable == 0));
    test.store.prune(true, &|_| true).expect("prunes");
    assert!(test.is_empty());
}

#[test]
fn images_without_a_name_go_and_filters_keep() {
    let (test, base, derived) = store();
    test.store.tag("derived:1", &"base:1".parse().expect("a name")).expect("takes the name away");
    let keeps = test.store.prune(false, &|image| image.id.0 != base.id()).expect("prunes");
    assert_eq!(keeps.deleted.len(), 0);
    let pruned = test.store.prune(false, &|_| true).expect("prunes");
    assert_eq!(pruned.deleted.iter().map(|id| id.0).collect::<Vec<_>>(), [base.id()]);
    assert!(pruned.untagged.is_empty());
    assert!(test.listed().iter().all(|(_, id)| *id == derived.id()));
    test.check();
}

#[test]
fn what_a_killed_command_left_goes() {
    let (test, ..) = store();
    let root = test.store.root();
    let draft = root.join("tmp/store-dead");
    fs::create_dir(&draft).expect("creates");
    fs::write(draft.join("blob-0"), noise(9, 50_000)).expect("writes");
    let orphan = root.join("oci/blobs/sha256").join(Digest::of(b"orphan").hex());
    fs::write(&orphan, noise(9, 50_000)).expect("writes");
    let before = test.store.usage(&|_| false).expect("adds up");
    assert!(before.unfinished >= 50_000);
    assert!(before.kinds[&Kind::Blob].reclaimable >= 50_000);
    let pruned = test.store.prune(false, &|_| true).expect("prunes");
    assert!(pruned.reclaimed >= 100_000, "{}", pruned.reclaimed);
    assert!(!draft.exists() && !orphan.exists());
    assert_eq!(test.listed().len(), 2);
    test.check();
}
