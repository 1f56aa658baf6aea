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
