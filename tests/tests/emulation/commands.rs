//! `vmrun emulate COMMAND`: an emulated host for one command.

use std::fs;
use std::time::Duration;

use tests::{Command, setting, vmrun};

/// An emulated machine starts slowly, and one that runs another even more so.
const PATIENCE: Duration = Duration::from_secs(240);

fn emulated(words: &[&str]) -> Command {
    vmrun(["emulate", "--memory", "2g", "--"]).with(words).patience(PATIENCE)
}

#[test]
fn streams_exit_code_and_surroundings_pass_through() {
    let here = std::env::current_dir().unwrap();
    let script =
        "cat; echo to stderr >&2; echo directory $(pwd); echo given $GIVEN; test -c /dev/kvm && echo has KVM;
        grep -qw svm /proc/cpuinfo && echo has AMD-V; exit 7";
    let input: String = (0..200_000).map(|number| format!("{number}\n")).collect();
    let seen =
        emulated(&["sh", "-c", script]).env("GIVEN", "by the host").stdin(input.clone()).run().exits_with(7);
    let output = seen.text();
    let Some(rest) = output.strip_prefix(&input) else { panic!("not what was sent: {} bytes", output.len()) };
    assert!(
        rest.contains(&format!("directory {}\ngiven by the host\nhas KVM\nhas AMD-V\n", here.display())),
        "{rest}"
    );
    assert_eq!(seen.stderr, "to stderr\n");
}

/// The host's files are seen and not written, except in the state directory.
#[test]
fn files_are_seen_and_only_the_state_directory_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "here\n").unwrap();
    let home = setting("VMRUN_HOME");
    let script = format!(
        "cat {0}; echo there >{0}; cat {0}; echo lasts >{home}/written-by-test; kill -9 $$",
        file.display()
    );
    // The command is PID 1 of nothing here: its signals are a signal's end.
    let seen = emulated(&["sh", "-c", &format!("sh -c '{script}'; exit $?")]).run().exits_with(128 + 9);
    assert_eq!(seen.text(), "here\nthere\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), "here\n");
    let written = format!("{home}/written-by-test");
    assert_eq!(fs::read_to_string(&written).unwrap(), "lasts\n");
    fs::remove_file(written).unwrap();
}

#[test]
fn a_command_that_is_not_there_is_127() {
    emulated(&["no-such-command"]).run().exits_with(127).complains(&["no-such-command"]);
}
