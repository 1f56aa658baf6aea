//! Images on kernels, every one on every one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tests::kernel_features::{FEATURES, Kernel, version_of};
use tests::{KERNEL, NEWER_KERNEL, Outcome, Terminal, setting, vmrun};

/// Kernels of four Debian releases, the oldest first.
const ROW: [&str; 5] = ["bullseye", KERNEL, NEWER_KERNEL, "trixie", "sid"];

/// Ample for a row of starts, two at a time.
const PATIENCE: Duration = Duration::from_secs(600);

fn matrix(words: &[&str], output: &Path, command: &[&str]) -> tests::Command {
    let mut all = vec!["matrix", "--output", output.to_str().unwrap()];
    all.extend(words);
    if !command.is_empty() {
        all.push("--");
        all.extend(command);
    }
    vmrun(all).patience(PATIENCE)
}

/// `--kernel` for each of them.
fn kernels<'a>(names: &[&'a str]) -> Vec<&'a str> {
    names.iter().flat_map(|name| ["--kernel", name]).collect()
}

/// The results of a matrix by kernel and image.
fn results(outcome: &Outcome) -> BTreeMap<(String, String), Value> {
    let document: Value = serde_json::from_str(&outcome.text()).unwrap();
    let key = |cell: &Value, name: &str| cell[name].as_str().unwrap().to_owned();
    let cells = document["cells"].as_array().unwrap().iter();
    cells.map(|cell| ((key(cell, "kernel"), key(cell, "image")), cell.clone())).collect()
}

fn no_machine_is_left() {
    let left = vmrun(["ps", "-a", "--format", "json", "--filter", "label=vmrun.matrix"]).run().succeeds();
    assert_eq!(left.text().trim(), "[]", "machines of the matrix are left");
}

/// What a kernel's configuration and command line let one expect of each feature, against what the probe found.
fn check_features(kernel: &str, said: &str) {
    let mut lines = said.lines();
    let about = lines.next().unwrap();
    let version = about.split("Debian ").filter_map(version_of).last();
    let version = version.unwrap_or_else(|| panic!("no Debian version in {about}"));
    let command_line = lines.next().unwrap();
    let config = Path::new(&setting("VMRUN_HOME")).join("kernels").join(kernel).join("config");
    let config = fs::read_to_string(config).unwrap();
    let of_kernel = Kernel { version, config: &config, command_line };
    let expected: Vec<String> = FEATURES
        .iter()
        .map(|feature| {
            let there = if feature.is_expected(&of_kernel) { "yes" } else { "no" };
            format!("{} {there}", feature.name)
        })
        .collect();
    let wrong: Vec<_> = lines.zip(&expected).filter(|(said, expected)| said != expected).collect();
    assert!(wrong.is_empty(), "{kernel} ({version:?}), found and expected: {wrong:?}");
    assert_eq!(said.lines().count(), FEATURES.len() + 2);
}

#[test]
fn each_kernel_has_what_the_table_says() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("out");
    let script = "cat /proc/version /proc/cmdline && kernel_features";
    let words = [&kernels(&ROW)[..], &["--image", "busybox", "--jobs", "2"]].concat();
    let outcome = matrix(&words, &output, &["sh", "-c", script]).run().succeeds();
    let text = outcome.text();
    assert_eq!(text.lines().count(), 1 + ROW.len(), "{text}");
    for kernel in ROW {
        let line = text.lines().find(|line| line.starts_with(&format!("{kernel} "))).unwrap();
        assert!(line.contains("passed"), "{line}");
        let folder = output.join(kernel).join("busybox");
        check_features(kernel, &fs::read_to_string(folder.join("stdout")).unwrap());
        let log = fs::read_to_string(folder.join("kernel.log")).unwrap();
        assert!(log.contains("Linux version"), "{log}");
    }
    no_machine_is_left();
}

/// A boot option that an old kernel needs for it, for the cells that have that kernel.
#[test]
fn what_a_boot_option_allows_is_there_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let (file, output) = (directory.path().join("m.toml"), directory.path().join("out"));
    let text = format!(
        "kernels = [\"{KERNEL}\", \"bullseye\"]\nimages = [\"busybox\"]\n\
         command = [\"kernel_features\", \"memfd_secret\"]\n\
         [[cell]]\nkernel = \"6.1.*\"\nrun = [\"--kernel-arg=secretmem.enable=1\"]\n\
         [[cell]]\nkernel = \"bullseye\"\nxfail = \"older than 5.14\"\nstdout = \"memfd_secret yes\"\n"
    );
    fs::write(&file, text).unwrap();
    let words = ["--file", file.to_str().unwrap(), "--format", "json"];
    let outcome = matrix(&words, &output, &[]).run().succeeds();
    let results = results(&outcome);
    let result = |kernel: &str| &results[&(kernel.to_owned(), "busybox".to_owned())];
    assert_eq!(result(KERNEL)["result"], "passed");
    assert_eq!(result("bullseye")["result"], "expected_failure");
    assert_eq!(result("bullseye")["exit_code"], 1);
}

#[test]
fn a_panic_an_exit_code_a_timeout_and_an_error_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let (file, output) = (directory.path().join("m.toml"), directory.path().join("out"));
    let text = format!(
        r#"
        kernels = ["{KERNEL}"]
        images = ["busybox"]
        env = {{ WORD = "said" }}
        [commands]
        passes = "echo $WORD; echo error >&2"
        fails = "exit 3"
        is-missing = ["no-such-program"]
        three = "exit 3"
        writes = "echo other"
        hangs = "echo before; sleep 1000"
        panics = "echo c > /proc/sysrq-trigger; sleep 1000"
        is-odd = "true"
        is-refused = "true"
        is-skipped = "true"
        [[cell]]
        command = "three"
        exit-code = 3
        [[cell]]
        command = "writes"
        stdout = "this"
        [[cell]]
        command = "hangs"
        timeout = 15
        [[cell]]
        command = "is-odd"
        xfail = "so they say"
        [[cell]]
        command = "is-refused"
        memory = "32m"
        [[cell]]
        command = "is-skipped"
        skip = "no use"
        "#
    );
    fs::write(&file, text).unwrap();
    let words = ["--file", file.to_str().unwrap(), "--format", "junit"];
    let outcome = matrix(&words, &output, &[]).run().exits_with(125);
    let document: Value =
        serde_json::from_str(&fs::read_to_string(output.join("matrix.json")).unwrap()).unwrap();
    let cells = document["cells"].as_array().unwrap();
    let shown: BTreeMap<&str, (&str, &str)> = cells
        .iter()
        .map(|cell| {
            let text = |name: &str| cell[name].as_str().unwrap_or_default();
            (text("command_name"), (text("result"), text("shown")))
        })
        .collect();
    let expected = [
        ("fails", ("failed", "exit 3")),
        ("hangs", ("failed", "timed out")),
        ("is-missing", ("failed", "exit 127")),
        ("is-odd", ("unexpected_pass", "unexpected pass")),
        ("is-refused", ("failed", "error")),
        ("is-skipped", ("skipped", "skipped")),
        ("panics", ("failed", "panicked")),
        ("passes", ("passed", "passed")),
        ("three", ("passed", "passed")),
        ("writes", ("failed", "wrong output")),
    ];
    assert_eq!(shown.into_iter().collect::<Vec<_>>(), expected, "{}", outcome.stderr);
    let read = |command: &str, file: &str| {
        fs::read_to_string(output.join(KERNEL).join("busybox").join(command).join(file)).unwrap()
    };
    assert_eq!((&*read("passes", "stdout"), &*read("passes", "stderr")), ("said\n", "error\n"));
    assert_eq!(read("hangs", "stdout"), "before\n");
    assert!(read("panics", "kernel.log").contains("sysrq triggered crash"));
    let panicked = cells.iter().find(|cell| cell["end"] == "panic").unwrap();
    let lines = panicked["kernel_log"].to_string();
    assert!(lines.contains("Kernel panic"), "{lines}");
    let xml = outcome.text();
    for part in ["tests=\"10\" failures=\"6\" errors=\"1\" skipped=\"1\"", "Kernel panic", "said"] {
        assert!(xml.contains(part), "no {part:?} in\n{xml}");
    }
    assert!(outcome.stderr.contains("hangs on debian: failed: timed out after 15 s"), "{}", outcome.stderr);
    let panic = outcome.stderr.lines().find(|line| line.contains("panics on debian: failed")).unwrap();
    assert!(panic.contains("Kernel panic - not syncing: sysrq triggered crash"), "{panic}");
    no_machine_is_left();
}

/// One bootfs, many images; the old user land on the newest kernel, and the newest on the oldest.
#[test]
fn old_and_new_user_lands_run_on_new_and_old_kernels() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("out");
    let script = ". /etc/os-release; echo $VERSION_CODENAME; apt-get --version | head -n 1; ls /proc/self/fd | wc -l; \
                  getent passwd root; perl -e 'print $], \"\\n\"'; touch /new && rm /new && dpkg -l bash | tail -n 1";
    let words = ["--kernel", "bullseye", "--kernel", "sid", "--image", "old-debian", "--image", "new-debian"];
    let words = [&words[..], &["--format", "markdown", "--jobs", "2"]].concat();
    let outcome = matrix(&words, &output, &["bash", "-ec", script]).run();
    let read = |kernel: &str, image: &str, file: &str| {
        fs::read_to_string(output.join(kernel).join(image).join(file)).unwrap_or_default()
    };
    let outcome = outcome.succeeds();
    for kernel in ["bullseye", "sid"] {
        assert!(read(kernel, "old-debian", "stdout").starts_with("bullseye\n"), "{kernel}");
        let new = read(kernel, "new-debian", "stdout");
        assert!(new.starts_with("trixie\n") && new.contains("apt ") && new.contains("root:x:0:0"), "{new}");
    }
    let text = outcome.text();
    assert!(
        text.starts_with("| KERNEL | RELEASE | old-debian | new-debian |\n|---|---|---|---|\n"),
        "{text}"
    );
    assert!(text.contains("4 cells: 4 passed"), "{text}");
}

#[test]
fn bisection_finds_the_first_kernel_that_fails() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("out");
    let words = [&kernels(&ROW)[..], &["--image", "busybox", "--bisect"]].concat();
    // 6.5 has it.
    let outcome = matrix(&words, &output, &["sh", "-c", "! kernel_features cachestat"]).run().succeeds();
    let text = outcome.text();
    assert!(text.contains(&format!("first bad: {NEWER_KERNEL} (6.12.")), "{text}");
    assert!(text.contains(&format!("; {KERNEL} (6.1.")) && text.contains("4 runs for 5 kernels"), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("1. bullseye (5.10.0") && lines[0].contains("passed"), "{text}");
    assert!(lines[1].starts_with("2. sid (") && lines[1].contains("exit 1"), "{text}");
}

#[test]
fn an_interrupted_matrix_removes_its_machines_and_tells_what_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("out");
    let words = ["--kernel", KERNEL, "--kernel", NEWER_KERNEL, "--image", "busybox", "--jobs", "1"];
    let all: Vec<&str> = ["matrix", "--output", output.to_str().unwrap()].into_iter().chain(words).collect();
    let matrix =
        vmrun(all.into_iter().chain(["--", "sh", "-c", "echo begun; sleep 1000"])).patience(PATIENCE);
    let matrix = matrix.start();
    let log = || {
        let list = vmrun(["ps", "--format", "json", "--filter", "label=vmrun.matrix"]).run().succeeds();
        let list: Value = serde_json::from_str(&list.text()).unwrap();
        let id = list[0]["id"].as_str().map(str::to_owned);
        id.map(|id| vmrun(["logs", &id]).run().text()).unwrap_or_default()
    };
    while !log().contains("begun") {
        thread::sleep(Duration::from_millis(300));
    }
    matrix.signal(Signal::INT);
    let outcome = matrix.wait().exits_with(130);
    let table = outcome.text();
    assert!(table.matches("interrupted").count() == 1 && table.matches("not run").count() == 1, "{table}");
    let written = fs::read_to_string(output.join(KERNEL).join("busybox").join("stdout")).unwrap();
    assert_eq!(written, "begun\n");
    no_machine_is_left();
}

#[test]
fn a_terminal_shows_a_table_that_lives() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("out");
    let words = ["--kernel", KERNEL, "--image", "busybox", "--image", "debian", "--fail-fast", "--jobs", "1"];
    let mut terminal = Terminal::start(24, 100, matrix(&words, &output, &["sh", "-c", "sleep 1; exit 4"]));
    terminal.shows("0 of 2 done, 0 running, 0 failed");
    terminal.shows("running 1.");
    terminal.shows("exit 4");
    terminal.shows("IMAGE");
    terminal.shows("exit 4");
    terminal.shows("not run");
    terminal.shows("busybox on debian: failed: exit code 4");
    terminal.shows("2 cells: 1 failed, 1 not run");
    assert_eq!(terminal.wait().code(), 1);
}

/// More than a machine's log has room for, though not all of it in the cell's folder.
#[test]
fn of_much_output_the_beginning_and_the_end_are_kept_and_the_rest_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (file, output) = (directory.path().join("m.toml"), directory.path().join("out"));
    let text = format!(
        r#"
        kernels = ["{KERNEL}"]
        images = ["busybox"]
        [commands]
        much = "echo first; dd if=/dev/zero bs=1M count=140 2>/dev/null; echo last"
        beside = "echo first; dd if=/dev/zero bs=1M count=140 2>/dev/null | cat >&2"
        [[cell]]
        stdout = "first"
        [[cell]]
        command = "much"
        xfail = "it writes more"
        "#
    );
    fs::write(&file, text).unwrap();
    let words = ["--file", file.to_str().unwrap(), "--format", "json", "--jobs", "1"];
    let outcome = matrix(&words, &output, &[]).run().succeeds();
    let document: Value = serde_json::from_str(&outcome.text()).unwrap();
    assert_eq!((&document["summary"]["shortened"], &document["summary"]["passed"]), (&2.into(), &1.into()));
    assert!(document["cells"][0]["notices"].to_string().contains("bytes of the command's standard output"));
    assert!(outcome.stderr.contains("; 2 wrote more than is kept"), "{}", outcome.stderr);
    let read = |name: &str| fs::read(output.join(KERNEL).join("busybox").join(name)).unwrap();
    let much = read("much/stdout");
    assert!(much.starts_with(b"first\n\0") && much.ends_with(b"\0last\n"));
    assert!(much.len() < 66 << 20, "{}", much.len());
    assert_eq!(read("beside/stdout"), b"first\n");
}
