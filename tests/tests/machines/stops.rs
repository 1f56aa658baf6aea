//! Machines that are stopped, killed and started again: what of them stays, and who is told when.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};
use tests::{Detached, vmrun};

/// What it wrote is there again, synced or not; the next end takes it, as `--rm` wants.
#[test]
fn a_machine_of_rm_outlives_its_restart() {
    let script = "echo up $(cat /root/kept); trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let machine = Detached::shell(&["--rm", "--name", "passing"], "busybox", script);
    machine.logs("up");
    machine.exec("echo first >/root/kept; seq 100000 >/root/many").succeeds();
    vmrun(["restart", "passing"]).run().succeeds();
    machine.logs("up first");
    assert_eq!(machine.exec("cat /root/kept; tail -n 1 /root/many").succeeds().text(), "first\n100000\n");
    // Whom nothing but SIGKILL ends, too.
    machine.vmrun(&["restart", "-s", "WINCH", "-t", "0"], &[]).run().succeeds();
    assert_eq!(machine.exec("cat /root/kept").succeeds().text(), "first\n");
    machine.vmrun(&["stop"], &[]).run().succeeds();
    assert!(!machine.directory().exists());
    let actions = actions(&machine);
    assert_eq!(actions, ["create", "start", "die", "start", "die", "start", "die", "destroy"]);
}

#[test]
fn what_was_killed_has_ended() {
    let machine = Detached::run(&["--name", "victim"], "busybox", &["sleep", "1000"]);
    vmrun(["kill", "victim"]).run().succeeds();
    assert_eq!([".State.Status", ".State.ExitCode"].map(|field| machine.inspect(field)), ["exited", "137"]);
    vmrun(["rm", "victim"]).run().succeeds();

    let passing = Detached::run(&["--rm"], "busybox", &["sleep", "1000"]);
    passing.vmrun(&["kill"], &[]).run().succeeds();
    assert!(!passing.directory().exists());
}

#[test]
fn who_attaches_between_two_lives_sees_the_next() {
    let (machine, disk) = waiting_machine();
    let attached = machine.vmrun(&["attach"], &[]).start();
    thread::sleep(Duration::from_secs(1));
    assert_eq!(machine.inspect(".State.Status"), "restarting", "the pause was too short for this host");
    fs::rename(disk, machine.directory().join("upper.ext4")).unwrap();
    let seen = attached.wait().exits_with(3);
    assert_eq!(seen.text(), "again\n");
}

#[test]
fn who_is_stopped_between_two_lives_has_died_once() {
    let (machine, _) = waiting_machine();
    let before = (actions(&machine), machine.inspect(".State.FinishedAt"));
    machine.vmrun(&["stop"], &[]).run().succeeds();
    assert_eq!(machine.inspect(".State.Status"), "exited");
    assert_eq!((actions(&machine), machine.inspect(".State.FinishedAt")), before);
}

/// A machine that waits for its next life, for seconds: its disk is elsewhere, and pauses grow with each life that fails.
fn waiting_machine() -> (Detached, PathBuf) {
    let script = "[ -e /root/been ] && { echo again; exit 3; }; touch /root/been; sync; echo up; sleep 1000";
    let machine = Detached::shell(&["--restart", "always"], "busybox", script);
    machine.logs("up");
    let disk = machine.directory().join("elsewhere.ext4");
    fs::rename(machine.directory().join("upper.ext4"), &disk).unwrap();
    let monitor = machine.inspect(".State.Pid").parse().ok().and_then(Pid::from_raw).unwrap();
    kill_process(monitor, Signal::KILL).unwrap();
    let begun = Instant::now();
    while machine.inspect(".RestartCount").parse::<u32>().unwrap() < 6
        || machine.inspect(".State.Status") != "restarting"
    {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", machine.inspect(".State"));
        thread::sleep(Duration::from_millis(100));
    }
    (machine, disk)
}

/// What has happened to it.
fn actions(machine: &Detached) -> Vec<String> {
    let words = ["events", "--until", "0s", "--format", "json", "--filter"];
    let events = vmrun([&words[..], &[&format!("machine={}", machine.id)]].concat()).run().succeeds().text();
    let event = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    events.lines().map(|line| event(line)["action"].as_str().unwrap().to_owned()).collect()
}
