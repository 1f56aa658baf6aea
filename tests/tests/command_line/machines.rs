//! Machines that nobody starts: made, listed and removed.

use std::fs::File;
use std::io::pipe;
use std::path::Path;
use std::process::{Command, Output};

use tests::{setting, vmrun};

use crate::image_file;

/// A state directory with an image and the kernels of the tests' store, and so many machines.
fn home(machines: usize) -> (tempfile::TempDir, Vec<String>) {
    let home = tempfile::tempdir().unwrap();
    let file = image_file("busybox.tar");
    let import = ["import".as_ref(), "-q".as_ref(), file.as_os_str(), "box".as_ref()];
    vmrun(import).home(home.path()).run().succeeds();
    std::os::unix::fs::symlink(
        Path::new(&setting("VMRUN_HOME")).join("kernels"),
        home.path().join("kernels"),
    )
    .unwrap();
    let create = |_| vmrun(["create", "box", "true"]).home(home.path()).run().succeeds().text();
    let ids = (0..machines).map(create).map(|id| id.trim().to_owned()).collect();
    (home, ids)
}

fn is_there(home: &Path, id: &str) -> bool {
    home.join("machines").join(id).exists()
}

/// `vmrun WORDS…` whose reader has left before it began.
fn unread(home: &Path, words: &[&str]) -> Output {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    Command::new(setting("VMRUN")).args(words).env("VMRUN_HOME", home).stdout(writer).output().unwrap()
}

#[test]
fn a_reader_that_leaves_keeps_nothing_from_being_done() {
    let (home, ids) = home(3);
    for words in [
        &["ps", "-a"][..],
        &["ps", "-aq"],
        &["images"],
        &["kernel", "ls", "-q"],
        &["kernel", "ls", "--format", "json"],
        &["df"],
        &["inspect", "box"],
        &["save", "box"],
        &["generate", "systemd", &ids[2]],
        &["events", "--until", "0s"],
        &["completions", "bash"],
        &["stop", &ids[0], &ids[1]],
        &["rm", &ids[0], &ids[1]],
        &["container", "prune", "-f"],
        &["rmi", "box"],
    ] {
        let output = unread(home.path(), words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{words:?}: {}: {said}", output.status);
    }
    assert!(!ids.iter().any(|id| is_there(home.path(), id)));
    assert_eq!(vmrun(["images", "-q"]).home(home.path()).run().succeeds().text(), "");
    let missing = unread(home.path(), &["rm", "nothing", "nobody"]);
    assert_eq!(missing.status.code(), Some(125));
    assert_eq!(String::from_utf8_lossy(&missing.stderr).lines().count(), 2);
}

#[test]
fn a_result_that_cannot_be_written_is_told() {
    let (home, ids) = home(2);
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let vmrun = |words: &[&str]| {
        let mut command = Command::new(setting("VMRUN"));
        command.args(words).env("VMRUN_HOME", home.path()).stdout(full()).output().unwrap()
    };
    let removed = vmrun(&["rm", &ids[0], &ids[1]]);
    assert_eq!(removed.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&removed.stderr).contains("cannot write to standard output"));
    assert!(!ids.iter().any(|id| is_there(home.path(), id)));
    assert_eq!(vmrun(&["images"]).status.code(), Some(125));
}

/// Another vmrun is just doing something with it.
#[test]
fn pruning_leaves_what_is_locked_and_goes_on() {
    let (home, ids) = home(3);
    let lock = File::create(home.path().join("machines").join(&ids[1]).join("lock")).unwrap();
    lock.lock().unwrap();
    let pruned = vmrun(["container", "prune", "-f"]).home(home.path()).run();
    let pruned = pruned.exits_with(125).complains(&[&ids[1], "another vmrun"]);
    pruned.says(&[&ids[0], &ids[2], "Total reclaimed space: "]);
    assert_eq!([0, 1, 2].map(|index| is_there(home.path(), &ids[index])), [false, true, false]);
    drop(lock);
    vmrun(["container", "prune", "-f"]).home(home.path()).run().succeeds().says(&[&ids[1]]);
}

/// An image that a machine is made of is in use, also while the machine does not run.
#[test]
fn what_is_reclaimable_is_what_prune_gives_back() {
    let (home, ids) = home(1);
    let layered = image_file("layered.docker.tar");
    vmrun(["load".as_ref(), "-qi".as_ref(), layered.as_os_str()]).home(home.path()).run().succeeds();
    // What there is, and what of it could be had back.
    let counted = || {
        let said = vmrun(["df", "--format", "json"]).home(home.path()).run().succeeds().text();
        let totals = serde_json::from_str::<serde_json::Value>(&said).unwrap()["totals"].take();
        let kinds = ["layers", "entry_tables", "metadata", "blobs"];
        ["size", "reclaimable"]
            .map(|what| kinds.map(|kind| totals[kind][what].as_u64().unwrap()).iter().sum())
    };
    let prune = || vmrun(["prune", "--all", "-f"]).home(home.path()).run().succeeds().text();
    let [size, reclaimable]: [u64; 2] = counted();
    assert!(reclaimable > 0 && reclaimable < size, "{reclaimable} of {size}");
    assert!(!prune().contains("box"));
    assert_eq!(counted(), [size - reclaimable, 0]);
    vmrun(["rm", &ids[0]]).home(home.path()).run().succeeds();
    assert_eq!(counted(), [size - reclaimable; 2]);
    assert!(prune().contains("box"));
    assert_eq!(counted(), [0, 0]);
}
