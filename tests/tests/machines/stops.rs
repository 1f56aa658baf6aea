//! Machines that are stopped, killed and started again: what of them stays, and who is told when.

use std::thread;
use std::time::{Duration, Instant};

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
fn between_two_lives_one_can_attach_and_stop() {
    let script = "n=$(($(cat /root/n) + 1)); echo $n >/root/n; sleep 1; echo life $n; exit 1";
    let machine = Detached::shell(&["--restart", "always", "--name", "flap"], "busybox", script);
    await_pause(&machine, 3);
    vmrun(["attach", "flap"]).run().exits_with(1).says(&["life "]);
    // A host that is slow may be in its next life when it hears of it, and ends that.
    for _ in 0..5 {
        await_pause(&machine, 3);
        machine.vmrun(&["stop"], &[]).run().succeeds();
        assert_eq!(machine.inspect(".State.Status"), "exited");
        if machine.inspect(".State.ExitCode") == "1" {
            let actions = actions(&machine);
            assert!(actions.ends_with(&["start".into(), "die".into()]), "{actions:?}");
            return;
        }
        machine.vmrun(&["start"], &[]).run().succeeds();
    }
    panic!("no stop has met a pause");
}

/// Waits for a pause after so many restarts. They grow, to seconds; but a host so slow that none of them has been seen
/// takes each life for one that went well.
fn await_pause(machine: &Detached, restarts: u32) {
    let begun = Instant::now();
    loop {
        let count: u32 = machine.inspect(".RestartCount").parse().unwrap();
        if (machine.inspect(".State.Status") == "restarting" && count >= restarts) || count > restarts + 2 {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(300), "{}", machine.inspect(".State"));
        thread::sleep(Duration::from_millis(100));
    }
}

/// What has happened to it.
fn actions(machine: &Detached) -> Vec<String> {
    let words = ["events", "--until", "0s", "--format", "json", "--filter"];
    let events = vmrun([&words[..], &[&format!("machine={}", machine.id)]].concat()).run().succeeds().text();
    let event = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    events.lines().map(|line| event(line)["action"].as_str().unwrap().to_owned()).collect()
}
