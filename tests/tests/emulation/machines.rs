//! Machines in the emulated host, as every verb sees them from outside. Where this host can run machines
//! itself, the same verbs do so here.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use super::home::{Home, ends};

/// Whether machines run in the emulated host.
fn is_needed() -> bool {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap();
    !cpuinfo.split_whitespace().any(|flag| flag == "vmx" || flag == "svm")
}

/// Streams, exit code, and a second start that does not pay for the first one's host.
#[test]
fn a_second_run_finds_the_host_of_the_first() {
    let home = Home::with_busybox();
    let run = || {
        let script = "read word; echo heard $word; echo complaint >&2; exit 42";
        let begun = Instant::now();
        let words = ["run", "--rm", "-i", "busybox", "sh", "-c", script];
        let outcome = home.vmrun(&words).stdin("a word\n").run().exits_with(42).complains(&["complaint\n"]);
        assert_eq!(outcome.text(), "heard a word\n");
        (begun.elapsed(), outcome.stderr)
    };
    let (first, said) = run();
    assert_eq!(said.contains("starting an emulated host"), is_needed(), "{said}");
    let qemu = is_needed().then(|| home.qemu());
    let (second, said) = run();
    assert_eq!(said, "complaint\n");
    if let Some(qemu) = qemu {
        assert_eq!(home.qemu(), qemu);
        assert!(second < first, "{second:?} after {first:?}");
        assert_eq!(home.status().unwrap()["machines"].as_array().unwrap().len(), 0);
    }
}

#[test]
fn every_verb_reaches_a_machine_from_outside() {
    let home = Home::with_busybox();
    let vmrun = |words: &[&str]| home.vmrun(words).run().succeeds();
    let script = "trap 'echo asked to end; exit 7' TERM; echo up; while :; do sleep 0.1; done";
    let id = vmrun(&["run", "-d", "--name", "one", "busybox", "sh", "-c", script]).text();
    vmrun(&["ps"]).says(&["one", "Up"]);
    vmrun(&["inspect", "one"]).says(&[id.trim(), "running"]);
    assert_eq!(vmrun(&["exec", "one", "cat", "/proc/1/comm"]).text(), "sh\n");
    home.vmrun(&["exec", "-i", "one", "sh", "-c", "cat >/of-exec; exit 3"]).stdin("kept").run().exits_with(3);
    let file = home.path().join("file");
    fs::write(&file, "copied").unwrap();
    vmrun(&["cp", file.to_str().unwrap(), "one:/of-cp"]);
    vmrun(&["diff", "one"]).says(&["A /of-cp", "A /of-exec"]);
    vmrun(&["top", "one"]).says(&["sleep"]);
    let stats = vmrun(&["stats", "--no-stream", "--format", "json", "one"]);
    let stats: serde_json::Value = serde_json::from_slice(&stats.stdout).unwrap();
    assert!(stats["HostMemory"].as_u64().is_some_and(|bytes| bytes > 10 << 20), "{stats}");
    vmrun(&["pause", "one"]);
    vmrun(&["ps"]).says(&["Paused"]);
    vmrun(&["unpause", "one"]);
    vmrun(&["logs", "one"]).says(&["up\n"]);
    vmrun(&["commit", "one", "changed"]);
    home.vmrun(&["rm", "one"]).run().is_refused(&["running"]);
    vmrun(&["stop", "one"]);
    vmrun(&["logs", "one"]).says(&["asked to end\n"]);
    vmrun(&["ps", "-a"]).says(&["Exited (7)"]);

    // Its files are there while it does not run, and after it has been started again.
    vmrun(&["cp", "one:/of-exec", file.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    vmrun(&["start", "one"]);
    assert_eq!(vmrun(&["exec", "one", "cat", "/of-cp"]).text(), "copied");
    vmrun(&["kill", "one"]);
    assert_eq!(vmrun(&["wait", "one"]).text(), "137\n");
    vmrun(&["rm", "one"]);
    assert_eq!(vmrun(&["ps", "-aq"]).text(), "");
    let begun = Instant::now();
    let timed = vmrun(&["run", "--rm", "--timing", "changed", "cat", "/of-cp", "/of-exec"]);
    assert_eq!(timed.text(), "copiedkept");
    // The moments of the start are of this host's time, wherever they were taken.
    let milliseconds = begun.elapsed().as_millis() as f64;
    for line in timed.stderr.lines().filter(|line| line.contains(" ms")) {
        let said: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(said <= milliseconds, "{}", timed.stderr);
    }
}

/// One line, and nothing is left of what was not started.
#[test]
fn a_machine_that_does_not_fit_is_refused() {
    if !is_needed() {
        // Here the kernel gives what it has.
        return;
    }
    let home = Home::with_busybox();
    let run = home.vmrun(&["run", "--rm", "-m", "3g", "busybox", "true"]).run().exits_with(125);
    let said: Vec<_> = run.stderr.lines().filter(|line| !line.contains("starting")).collect();
    assert_eq!(said.len(), 1, "{}", run.stderr);
    assert!(said[0].contains("does not fit"), "{}", run.stderr);
    assert_eq!(home.vmrun(&["ps", "-aq"]).run().succeeds().text(), "");
    home.vmrun(&["run", "--rm", "busybox", "true"]).run().succeeds();
}

/// What ends with the emulated host is told as ended, and its files outlast it.
#[test]
fn machines_outlive_their_host() {
    if !is_needed() {
        // There is none to be outlived: tests of machines kill monitors and supervisors.
        return;
    }
    let home = Home::with_busybox();
    let vmrun = |words: &[&str]| home.vmrun(words).run().succeeds();
    let script = "cat /kept; echo line >>/kept; sync; echo up; sleep 1000";
    vmrun(&["run", "-d", "--name", "one", "busybox", "sh", "-c", script]);
    let says_up = |times: usize| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while vmrun(&["logs", "one"]).text().matches("up\n").count() < times {
            assert!(Instant::now() < deadline, "the machine has not said it");
        }
    };
    says_up(1);
    home.vmrun(&["emulate", "stop"]).run().is_refused(&["machines run", "--force"]);
    let qemu = home.qemu();
    kill_process(qemu, Signal::KILL).unwrap();
    ends(qemu);
    vmrun(&["ps", "-a"]).says(&["Exited (137)"]);
    home.vmrun(&["exec", "one", "true"]).run().is_refused(&["does not run"]);
    assert_eq!(vmrun(&["ps", "-q"]).text(), "");

    vmrun(&["start", "one"]);
    says_up(2);
    assert_eq!(vmrun(&["exec", "one", "cat", "/kept"]).text(), "line\nline\n");
    // Ended as `vmrun stop` does.
    vmrun(&["emulate", "stop", "--force"]);
    vmrun(&["ps", "-a"]).says(&["Exited"]);
    assert!(home.status().is_none());
    vmrun(&["rm", "one"]);
}
