//! Bad input: one clear line, exit code 125, and a store as it was before.

use std::fs;

use tests::{Terminal, machine, vmrun};

use crate::image_file;

#[test]
fn what_is_missing_is_named() {
    let never = ["--pull", "never"];
    machine("no-such-image").with(never).command(["true"]).run().is_refused(&["no-such-image"]);
    machine("busybox")
        .with(["--kernel", "no-such-kernel"])
        .command(["true"])
        .run()
        .is_refused(&["no-such-kernel"]);
    machine("Not/A/Name").command(["true"]).run().is_refused(&["Not/A/Name"]);
    machine("busybox")
        .with(["--memory", "much"])
        .command(["true"])
        .run()
        .exits_with(125)
        .complains(&["much"]);
    machine("busybox").with(["--cpus", "33"]).command(["true"]).run().exits_with(125).complains(&["33"]);
    vmrun(["load", "-i", "/no/such/file"]).run().is_refused(&["/no/such/file"]);
    vmrun(["inspect", "--type", "container", "no-such-one"]).run().is_refused(&["no such machine"]);
    let mut terminal = Terminal::start(24, 100, vmrun(["load"]));
    terminal.shows("name a file with -i, or redirect standard input");
    assert_eq!(terminal.wait().code(), 125);
    let home = tempfile::tempdir().unwrap();
    let file = image_file("busybox.tar");
    vmrun(["import".as_ref(), file.as_os_str(), "box".as_ref()]).home(home.path()).run().succeeds();
    machine("box").home(home.path()).command(["true"]).run().is_refused(&["kernel", "vmrun kernel add"]);
}

#[test]
fn damaged_archives_change_nothing() {
    let home = tempfile::tempdir().unwrap();
    let whole = fs::read(image_file("layered.oci.tar")).unwrap();
    let load = |bytes: &[u8]| vmrun(["load", "-i", "-"]).home(home.path()).stdin(bytes).run();
    vmrun(["load", "-i", "-", "--name", "whole"]).home(home.path()).stdin(whole.clone()).run().succeeds();
    let listed = || vmrun(["images", "--format", "json"]).home(home.path()).run().succeeds().text();
    let rootfs = || {
        let file = home.path().join("exported");
        let words = ["rootfs".as_ref(), "whole".as_ref(), "-o".as_ref(), file.as_os_str()];
        vmrun(words).home(home.path()).run().succeeds();
        fs::read(&file).unwrap()
    };
    let (before, disk) = (listed(), rootfs());
    load(b"").is_refused(&["empty"]);
    load(b"no archive\n").is_refused(&[]);
    load(&vec![0; 1 << 20]).is_refused(&[]);
    for length in [600, 5_000, whole.len() / 2, whole.len() * 9 / 10] {
        load(&whole[..length]).is_refused(&[]);
    }
    for position in (1..8).map(|eighth| whole.len() / 8 * eighth) {
        let mut flipped = whole.clone();
        flipped[position] ^= 0x10;
        load(&flipped).is_refused(&[]);
    }
    assert_eq!(listed(), before);
    assert!(rootfs() == disk);
    assert_eq!(fs::read_dir(home.path().join("tmp")).unwrap().count(), 0, "nothing unfinished is left");
}

#[test]
fn another_architecture_is_named() {
    let home = tempfile::tempdir().unwrap();
    let layout = home.path().join("layout");
    let tool = |program: &str, words: &[&str]| {
        let status = std::process::Command::new(program).args(words).status().unwrap();
        assert!(status.success(), "{program} {words:?}");
    };
    let layout = layout.to_str().unwrap();
    let image = format!("{layout}:latest");
    tool("umoci", &["init", "--layout", layout]);
    tool("umoci", &["new", "--image", &image]);
    tool("umoci", &["config", "--image", &image, "--architecture", "arm64"]);
    vmrun(["load", "-i", layout, "--name", "arm"]).home(home.path()).run().is_refused(&["arm64"]);
}
