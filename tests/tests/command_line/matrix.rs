//! What a matrix cannot be made of: told in a line, before any machine runs.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::{KERNEL, Outcome, setting, vmrun};

const OF_BUSYBOX: [&str; 5] = ["matrix", "--kernel", KERNEL, "--image", "busybox"];

fn with(words: &[&str]) -> Outcome {
    vmrun([&OF_BUSYBOX[..], words].concat()).run()
}

/// Runs a matrix of a file, in the directory where the file is.
fn of_file(text: &str, words: &[&str]) -> (i32, String) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("vmrun-matrix.toml"), text).unwrap();
    let ran = Command::new(setting("VMRUN")).arg("matrix").args(words).current_dir(directory.path()).output();
    let ran = ran.unwrap();
    let left: Vec<_> =
        fs::read_dir(directory.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["vmrun-matrix.toml"], "nothing is made before it is known what of");
    (ran.status.code().unwrap(), String::from_utf8(ran.stderr).unwrap())
}

#[track_caller]
fn refused(text: &str, words: &[&str], said: &[&str]) {
    let (code, stderr) = of_file(text, words);
    assert_eq!(code, 125, "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(said.iter().all(|word| stderr.contains(word)), "{stderr}");
}

#[test]
fn what_is_missing_is_named() {
    let empty = tempfile::tempdir().unwrap();
    let here = |words: &[&str]| {
        let mut command = Command::new(setting("VMRUN"));
        let ran = command.arg("matrix").args(words).current_dir(empty.path()).output().unwrap();
        (ran.status.code().unwrap(), String::from_utf8(ran.stderr).unwrap())
    };
    for (words, said) in [
        (&[][..], "--kernel"),
        (&["--kernel", KERNEL], "--image"),
        (&["--kernel", "no-such-kernel", "--image", "busybox"], "no-such-kernel"),
        (&["--kernel", KERNEL, "--image", "no-such-image", "--pull", "never"], "no-such-image"),
        (&["--kernel", KERNEL, "--kernel", KERNEL, "--image", "busybox"], "twice"),
        (&["-f", "no-such-file"], "no-such-file"),
    ] {
        let (code, stderr) = here(words);
        assert_eq!((code, stderr.lines().count()), (125, 1), "{words:?}: {stderr}");
        assert!(stderr.contains(said), "{words:?}: {stderr}");
    }
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[test]
fn what_makes_no_sense_is_refused() {
    with(&["--memory", "much"]).exits_with(125).complains(&["much"]);
    with(&["--jobs", "0"]).exits_with(125).complains(&["--jobs"]);
    with(&["--format", "html"]).exits_with(125).complains(&["html", "junit"]);
    // What is no cell's.
    for flag in ["--rm", "--tty", "--name=x", "--restart=always"] {
        with(&[flag]).exits_with(125).complains(&[flag.split('=').next().unwrap()]);
    }
    with(&["--assume"]).exits_with(125).complains(&["--bisect"]);
    with(&["--bisect"]).is_refused(&["two kernels"]);
    with(&["--bisect", "--kernel", "newer", "--image", "debian"]).is_refused(&["one image"]);
    with(&["--bisect", "--kernel", "newer", "--format", "junit"]).is_refused(&["json"]);
    let full = tempfile::tempdir().unwrap();
    fs::write(full.path().join("mine"), "").unwrap();
    with(&["--output", full.path().to_str().unwrap()]).is_refused(&["--output"]);
    assert!(Path::new(&full.path().join("mine")).exists());
}

#[test]
fn a_mistake_in_a_file_has_a_line_and_a_column() {
    let good = format!("kernels = [\"{KERNEL}\"]\nimages = [\"busybox\"]\n");
    refused("kernels = [\n  \"a\",\n  7\n]\n", &[], &["vmrun-matrix.toml:3:3: ", "string"]);
    refused(&format!("{good}tiemout = 5\n"), &[], &["vmrun-matrix.toml:3:1: ", "tiemout", "timeout"]);
    refused(&format!("{good}memory = \"much\"\n"), &[], &["vmrun-matrix.toml:3:10: ", "much"]);
    refused(
        &format!("{good}run = [\"--no-such-flag\"]\n"),
        &[],
        &["vmrun-matrix.toml:3:7: ", "--no-such-flag"],
    );
    refused(
        &format!("{good}[[cell]]\nkernel = \"no*\"\nskip = \"x\"\n"),
        &[],
        &[":3:1: ", "matches no cell"],
    );
    refused(&format!("{good}[[cell]]\nskip = \"\"\n"), &[], &[":4:8: ", "reason"]);
    refused(&format!("{good}[[cell]\n"), &[], &["vmrun-matrix.toml:3:"]);
    refused(&format!("{good}command = []\n"), &[], &["vmrun-matrix.toml:3:11: "]);
    refused("\0", &[], &["vmrun-matrix.toml:1:"]);
    refused("\u{feff}# 中文\n\t\tfoo = \"é\"\n", &[], &["vmrun-matrix.toml:2:3: "]);
    refused(&format!("{good}[cell]\nskip = \"x\"\n"), &[], &["vmrun-matrix.toml:3:1: ", "[[cell]]"]);
    refused(
        "kernels = [\"no-such-kernel\"]\nimages = [\"busybox\"]\n",
        &[],
        &["no-such-kernel", "vmrun kernel ls"],
    );
    // More than this host has: known before anything is started.
    refused(&format!("{good}memory = \"9000g\"\n"), &[], &["--memory"]);
}

#[test]
fn a_file_is_read_whatever_it_is_called_and_however_large() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("my.toml");
    let refused = |content: &[u8], said: &str| {
        fs::write(&path, content).unwrap();
        vmrun(["matrix", "--file", path.to_str().unwrap()]).run().is_refused(&[said, "my.toml"]);
    };
    refused(&[0xff; 16], "no text");
    refused(&vec![b'#'; (1 << 20) + 1], "longer");
    refused("\u{1b}[31m = 1\n".as_bytes(), "my.toml:1:");
    vmrun(["matrix", "--file", directory.path().to_str().unwrap()]).run().is_refused(&["cannot read"]);
}

#[test]
fn what_run_takes_a_matrix_takes() {
    let words = ["--bisect", "--fail-fast", "--memory", "--env", "--kernel-arg", "--privileged", "junit"];
    vmrun(["matrix", "--help"]).run().succeeds().says(&words).says(&["vmrun-matrix.toml"]);
}
