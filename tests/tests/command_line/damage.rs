//! What `vmrun fsck` finds, what it repairs, and what the user has to do about the rest.

use std::fs;
use std::path::{Path, PathBuf};

use tests::{DockerRegistry, vmrun};

use crate::image_file;

/// The largest file below a directory of the store.
fn largest(home: &Path, directory: &str) -> PathBuf {
    let mut found = Vec::new();
    let mut directories = vec![home.join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => directories.push(entry.path()),
                kind if kind.is_file() => found.push((entry.metadata().unwrap().len(), entry.path())),
                _ => {}
            }
        }
    }
    found.into_iter().max().expect("there are files").1
}

fn damage(path: &Path) -> Vec<u8> {
    let before = fs::read(path).unwrap();
    let mut bytes = before.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    before
}

#[test]
fn layers_are_repaired_and_blobs_are_pulled_again() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let registry = DockerRegistry::start();
    let name = registry.name("it:latest");
    let layered = format!("oci:{}:latest", image_file("layered").display());
    registry.skopeo_copy(&[], &layered, &format!("docker://{name}"));
    let run = |words: &[&str]| vmrun(words).home(home).run();
    run(&["pull", "-q", &name]).succeeds();
    let well = run(&["fsck"]).succeeds();
    assert!(well.text().starts_with("1 image, "), "{}", well.text());
    assert!(well.text().trim_end().ends_with(": all is well"), "{}", well.text());

    let data = largest(home, "layers/sha256");
    let before = damage(&data);
    let looked = run(&["fsck", "--dry-run"]).exits_with(4);
    assert!(looked.text().contains("data file is damaged: can be repaired"), "{}", looked.text());
    let repaired = run(&["fsck"]).exits_with(1);
    assert!(repaired.text().contains(": repaired"), "{}", repaired.text());
    assert!(fs::read(&data).unwrap() == before);

    let blob = largest(home, "oci/blobs");
    let before = damage(&blob);
    let damaged = run(&["fsck"]).exits_with(4);
    assert!(damaged.text().contains(&format!("pull or load again: {name}")), "{}", damaged.text());
    let pulled = run(&["pull", &name]).succeeds();
    assert!(pulled.text().contains("Downloaded newer image"), "{}", pulled.text());
    assert!(fs::read(&blob).unwrap() == before);
    run(&["fsck", "--quiet"]).succeeds();
    let again = run(&["pull", &name]).succeeds();
    assert!(again.text().contains("Image is up to date"), "{}", again.text());
}

#[test]
fn a_pull_brings_what_was_lost_or_cut_short() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let registry = DockerRegistry::start();
    let name = registry.name("it:latest");
    let layered = format!("oci:{}:latest", image_file("layered").display());
    registry.skopeo_copy(&[], &layered, &format!("docker://{name}"));
    let run = |words: &[&str]| vmrun(words).home(home).run();
    run(&["pull", "-q", &name]).succeeds();

    let blob = largest(home, "oci/blobs");
    let before = fs::read(&blob).unwrap();
    fs::write(&blob, &before[..before.len() / 2]).unwrap();
    let pulled = run(&["pull", &name]).succeeds();
    assert!(pulled.text().contains("Downloaded newer image"), "{}", pulled.text());
    assert!(fs::read(&blob).unwrap() == before);

    let data = largest(home, "layers/sha256");
    fs::remove_file(&data).unwrap();
    run(&["pull", &name]).succeeds();
    assert!(data.exists());
    run(&["fsck", "--quiet"]).succeeds();
}

#[test]
fn a_lost_index_is_said_and_made_anew() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let file = image_file("busybox.tar");
    let file = file.to_str().unwrap();
    let run = |words: &[&str]| vmrun(words).home(home).run();
    run(&["import", file, "a"]).succeeds();
    fs::remove_file(home.join("oci/index.json")).unwrap();

    for command in [&["images"][..], &["import", file, "b"], &["prune", "--force"], &["rmi", "a"]] {
        let refused = run(command).exits_with(125);
        assert!(
            refused.stderr.contains("oci/index.json is damaged (it is missing); `vmrun fsck`"),
            "{command:?}"
        );
    }
    let repaired = run(&["fsck"]).exits_with(1);
    assert!(repaired.text().contains("names are lost, the images are not: repaired"), "{}", repaired.text());
    let listed = run(&["images", "--quiet"]).succeeds().text();
    // What was imported a moment ago is another image than the first only by its time.
    assert!((1..=2).contains(&listed.lines().count()), "{listed}");
    run(&["fsck", "--quiet"]).succeeds();
}
