//! What a matrix cannot be made of: told in a line, before any machine runs.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use tests::{KERNEL, NEWER_KERNEL, Outcome, setting, vmrun};

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
    with(&["--ulimit", "nofil=10"]).is_refused(&["nofil"]);
    with(&["--kernel", "no-such-kernel", "--tmpfs=rel"]).is_refused(&["--tmpfs rel"]);
    with(&["--env-file=no-such-file"]).is_refused(&["no-such-file"]);
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
    // Known without a kernel or an image, so none is asked for.
    let elsewhere = "kernels = [\"debian:6.1\"]\nimages = [\"localhost:1/none\"]\n";
    refused(
        &format!("{elsewhere}run = [\"--ulimit=nofil=10\"]\n"),
        &[],
        &["vmrun-matrix.toml:3:7: ", "nofil"],
    );
    refused(
        &format!("{elsewhere}[[cell]]\nenv = {{ \"A B\" = \"x\" }}\n"),
        &[],
        &["vmrun-matrix.toml:4:9: ", "A B"],
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

/// A search that comes to nothing before any machine runs, with standard output there; in its folder.
fn fruitless(prepare: impl FnOnce(&mut Command), words: &[&str], shell: &str) -> (i32, String, bool) {
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "kernels = [\"{KERNEL}\", \"{NEWER_KERNEL}\"]\nimages = [\"busybox\"]\n[[cell]]\nskip = \"no use\"\n"
    );
    fs::write(directory.path().join("vmrun-matrix.toml"), text).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{shell} exec \"$0\" matrix --output out \"$@\""), &setting("VMRUN")]);
    command.args(words).current_dir(directory.path()).stderr(Stdio::piped());
    prepare(&mut command);
    let ran = command.output().unwrap();
    let stderr = String::from_utf8(ran.stderr).unwrap() + &String::from_utf8(ran.stdout).unwrap();
    (ran.status.code().unwrap(), stderr, directory.path().join("out/matrix.json").exists())
}

#[test]
fn a_reader_that_leaves_takes_neither_the_verdict_nor_the_document() {
    let left = |command: &mut Command| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.stdout(OwnedFd::from(writer));
    };
    for format in ["table", "json"] {
        let (code, stderr, kept) = fruitless(left, &["--bisect", "--format", format], "");
        assert!(code == 125 && kept && stderr.contains("could not be tried"), "{code} {stderr}");
        assert!(!stderr.contains("pipe"), "{stderr}");
    }
    let (code, stderr, kept) = fruitless(left, &[], "");
    assert!(code == 0 && kept && stderr.contains("2 skipped"), "{code} {stderr}");
}

#[test]
fn a_result_that_cannot_be_written_leaves_the_other() {
    let full = |command: &mut Command| {
        command.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
    };
    let (code, stderr, kept) = fruitless(full, &[], "");
    assert!(code == 125 && kept && stderr.contains("standard output: No space left"), "{code} {stderr}");
    // No file may have a byte.
    let (code, said, _) = fruitless(|_| {}, &["--format", "json"], "trap '' XFSZ; ulimit -f 0;");
    assert!(code == 125 && said.contains("out/matrix.json: File too large"), "{code} {said}");
    assert!(said.contains("\"skipped\": 2"), "{said}");
}
