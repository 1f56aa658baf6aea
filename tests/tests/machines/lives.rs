//! Machines beside one another.

use tests::machine;

#[test]
fn two_machines_run_at_once_and_do_not_meet() {
    let start = |name: &str| {
        let script = "echo $(hostname) >/data/name; echo up; read word; echo $(cat /data/name) heard $word";
        machine("busybox").with(["-i", "--hostname", name]).shell(script).start_with_stdin()
    };
    let (mut one, mut other) = (start("one"), start("other"));
    one.says("up");
    other.says("up");
    for (running, word) in [(&mut one, "first"), (&mut other, "second")] {
        use std::io::Write;
        writeln!(running.stdin().unwrap(), "{word}").unwrap();
    }
    assert_eq!(one.wait().succeeds().text(), "up\none heard first\n");
    assert_eq!(other.wait().succeeds().text(), "up\nother heard second\n");
}

/// What happens once in a hundred starts happens to somebody every day.
#[test]
#[ignore = "for make test-long: a hundred starts"]
fn starts_succeed_every_time() {
    for round in 0..100 {
        let cpus = (round % 4 + 1).to_string();
        let kernel = [tests::KERNEL, tests::NEWER_KERNEL][round / 4 % 2];
        let seen = machine("busybox")
            .with(["--cpus", &cpus, "--kernel", kernel])
            .command(["nproc"])
            .run()
            .succeeds();
        assert_eq!(seen.text(), format!("{cpus}\n"), "round {round}");
    }
}
