//! Standard input, output and error: separate, whole, in order.

use std::io::Write;
use std::time::Duration;

use tests::{Detached, machine};

/// Bytes in which no stretch is like another.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn a_hundred_megabytes_go_in_and_come_out() {
    let input = noise(100_000_000);
    let cat = machine("busybox").with(["-i"]).command(["cat"]).stdin(input.clone());
    let seen = cat.patience(Duration::from_secs(600)).run().succeeds();
    assert_eq!(seen.stdout.len(), input.len());
    assert!(seen.stdout == input, "every byte in its place");
}

#[test]
fn what_the_guest_hashes_is_what_was_sent() {
    let input = noise(3_000_001);
    let seen = machine("busybox").with(["-i"]).command(["md5sum"]).stdin(input.clone()).run().succeeds();
    let mut md5sum = std::process::Command::new("md5sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    md5sum.stdin.take().unwrap().write_all(&input).unwrap();
    assert_eq!(seen.stdout, md5sum.wait_with_output().unwrap().stdout);
}

#[test]
fn output_and_errors_are_apart_and_nothing_is_lost_at_the_exit() {
    let seen = machine("busybox")
        .shell("echo to stdout; echo to stderr >&2; seq 1 100000; seq 1 50000 >&2; exit 3")
        .run()
        .exits_with(3);
    let numbers = |to: u32| (1..=to).map(|number| format!("{number}\n")).collect::<String>();
    assert!(seen.text() == format!("to stdout\n{}", numbers(100_000)));
    assert!(seen.stderr == format!("to stderr\n{}", numbers(50_000)), "{:.300}", seen.stderr);
}

#[test]
fn without_i_there_is_nothing_to_read() {
    let seen = machine("busybox").command(["cat"]).stdin("unread\n").run().succeeds();
    assert_eq!(seen.text(), "");
}

/// Half-close one way, and a conversation before it.
#[test]
fn input_and_output_take_turns() {
    let mut running = machine("busybox")
        .with(["-i"])
        .shell("echo ready; while read word; do echo got $word; done; echo end of input")
        .start_with_stdin();
    running.says("ready\n");
    let mut stdin = running.stdin().unwrap();
    for word in ["one", "two"] {
        writeln!(stdin, "{word}").unwrap();
        running.says(&format!("got {word}\n"));
    }
    drop(stdin);
    let seen = running.wait().succeeds();
    assert_eq!(seen.text(), "ready\ngot one\ngot two\nend of input\n");
}

/// A reader that has enough ends the writer, as on any pipe.
#[test]
fn a_reader_that_goes_ends_the_writer() {
    let vmrun = tests::setting("VMRUN");
    let seen = std::process::Command::new("sh")
        .args(["-c", r#"timeout 100 "$0" run --rm busybox yes | head -n 3"#, &vmrun])
        .output()
        .unwrap();
    assert_eq!(seen.stdout, b"y\ny\ny\n");
    assert!(seen.status.success());
}

/// A full disk is not a reader that goes: that output is missing must not look like success.
#[test]
fn output_that_cannot_be_written_is_an_error() {
    let full = |words: &[&str]| {
        let to = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut vmrun = std::process::Command::new(tests::setting("VMRUN"));
        let seen = vmrun.args(words).stdout(to).output().unwrap();
        let said = String::from_utf8_lossy(&seen.stderr);
        assert!(said.contains("No space left on device"), "{words:?}: {said}");
        assert_eq!(seen.status.code(), Some(125), "{words:?}");
    };
    full(&["run", "--rm", "busybox", "cat", "/etc/passwd"]);
    let machine = Detached::run(&[], "busybox", &["sleep", "1000"]);
    full(&["exec", &machine.id, "cat", "/etc/passwd"]);
    full(&["exec", "-t", &machine.id, "cat", "/etc/passwd"]);
}
