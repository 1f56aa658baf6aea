//! What a machine tells of itself: its kernel's log, its console, where the time went.

use tests::{Record, machine, recorded_machine};

#[test]
fn the_kernels_log_is_kept_whole() {
    let outcome =
        recorded_machine("busybox").shell("echo told the kernel >/dev/kmsg; exit 4").run().exits_with(4);
    let record = Record::of(&outcome);
    let log = record.kernel_log();
    assert!(log.contains("Linux version"), "{log:.2000}");
    assert!(log.contains("told the kernel"), "{log}");
    let description = record.description();
    assert_eq!(description["exit_code"], 4);
    assert_eq!(description["image"], "busybox");
    assert_eq!(description["kernel"], "debian");
}

#[test]
fn the_console_shows_the_boot_and_leaves_stdout_alone() {
    let outcome = machine("busybox").with(["--console"]).command(["echo", "hello"]).run().succeeds();
    assert_eq!(outcome.text(), "hello\n");
    outcome.complains(&["Linux version", "Run /init as init process"]);
}

#[test]
fn timing_draws_the_phases_of_the_start() {
    let outcome = machine("busybox").with(["--timing"]).command(["echo", "hello"]).run().succeeds();
    assert_eq!(outcome.text(), "hello\n");
    let mut sum = 0.0;
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    let names: Vec<&str> = lines.iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["prepare", "kernel", "bootfs", "rootfs", "process", "total", "disk"]);
    let milliseconds = |line: &str| -> f64 { line.split_whitespace().nth(1).unwrap().parse().unwrap() };
    for line in &lines[..5] {
        assert!(line.contains('█') || line.contains('▏'), "{line}");
        sum += milliseconds(line);
    }
    let total = milliseconds(lines[5]);
    assert!((sum - total).abs() < 1.0, "{sum} and {total}");
    assert!(lines[6].contains("pmem"), "{}", lines[6]);
}
