//! Images leave as archives; the disk is accounted for and given back.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tests::{Terminal, vmrun};

use crate::image_file;

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let path = image_file("layered.docker.tar");
    vmrun(["load".as_ref(), "-qi".as_ref(), path.as_os_str()]).home(home.path()).run().succeeds();
    home
}

/// To a file, to a pipe, loaded again, copied by skopeo: one image throughout.
#[test]
fn a_saved_image_is_the_same_everywhere() {
    let (home, other) = (home(), tempfile::tempdir().unwrap());
    let file = home.path().join("saved.tar");
    let file = file.to_str().unwrap();
    let id =
        |home: &std::path::Path| vmrun(["images", "-q", "--no-trunc"]).home(home).run().succeeds().text();
    vmrun(["save", "-o", file, "example.org/saved:1"]).home(home.path()).run().succeeds();
    let piped = vmrun(["image", "save", "example.org/saved:1"]).home(home.path()).run().succeeds();
    assert!(piped.stdout == fs::read(file).unwrap(), "a file or a pipe, the same bytes");
    vmrun(["load", "-q"]).stdin(piped.stdout).home(other.path()).run().succeeds();
    assert_eq!(id(other.path()), id(home.path()));
    for source in [format!("oci-archive:{file}"), format!("docker-archive:{file}")] {
        let inspected = Command::new("skopeo").args(["inspect", "--config", &source]).output().unwrap();
        assert!(inspected.status.success(), "{inspected:?}");
    }
    let missing = home.path().join("missing.tar");
    let words = ["save", "-o", missing.to_str().unwrap(), "example.org/saved:1", "nothing"];
    vmrun(words).home(home.path()).run().is_refused(&["nothing"]);
    assert!(!missing.exists(), "whole or not at all");
    vmrun(["save", "-o", "/no/such/file", "example.org/saved:1"])
        .home(home.path())
        .run()
        .is_refused(&["/no/such"]);
    vmrun(["save", "-o", "/dev/full", "example.org/saved:1"]).home(home.path()).run().is_refused(&["space"]);
}

#[test]
fn the_disk_is_accounted_for_and_given_back() {
    let home = home();
    let run = |words: &[&str]| vmrun(words).home(home.path()).run();
    let totals =
        || -> Value { serde_json::from_slice(&run(&["df", "--format", "json"]).succeeds().stdout).unwrap() };
    run(&["import", "-q", image_file("busybox.tar").to_str().unwrap(), "box"]).succeeds();
    let before = totals();
    let images = before["images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    assert!(images.iter().all(|image| image["shared"].as_u64() > Some(0)), "busybox is in both: {before:#}");
    run(&["df", "-v"]).succeeds().says(&["LAYER", "example.org/saved:1", "RECLAIMABLE"]);
    run(&["prune"]).is_refused(&["-f"]);
    run(&["prune", "-f", "--filter", "colour=red"]).is_refused(&["colour"]);
    run(&["system", "prune", "-af", "--filter", "until=2000-01-01"])
        .succeeds()
        .says(&["reclaimed space: 0B"]);
    run(&["tag", "box", "example.org/saved:1"]).succeeds();
    let text = run(&["prune", "-f"]).succeeds().text();
    assert!(text.contains("Deleted: sha256:") && !text.contains("Untagged"), "{text}");
    assert_eq!(totals()["images"].as_array().unwrap().len(), 1);
    run(&["prune", "-af"]).succeeds().says(&["Untagged: box:latest", "Untagged: example.org/saved:1"]);
    let after = totals();
    assert_eq!((&after["images"], &after["totals"]["blobs"]["size"]), (&serde_json::json!([]), &0.into()));
    assert_eq!(fs::read_dir(home.path().join("oci/blobs/sha256")).unwrap().count(), 0);
}

/// On a terminal, pruning asks, and saving does not write to it.
#[test]
fn a_terminal_is_asked_and_spared() {
    let home = home();
    let start = |words: &[&str]| Terminal::start(24, 100, vmrun(words).home(home.path()));
    let mut terminal = start(&["prune", "-a"]);
    terminal.shows("[y/N]");
    terminal.types("\n");
    terminal.wait().succeeds();
    let listed = || vmrun(["images", "-q"]).home(home.path()).run().succeeds().text().lines().count();
    assert_eq!(listed(), 1, "no is what is meant when nothing is said");
    let mut terminal = start(&["prune", "-a"]);
    terminal.shows("[y/N]");
    terminal.types("y\n");
    terminal.shows("Total reclaimed space");
    terminal.wait().succeeds();
    assert_eq!(listed(), 0);
    let mut terminal = start(&["save", "example.org/saved:1"]);
    terminal.shows("not for a terminal");
    terminal.wait().exits_with(125);
}
