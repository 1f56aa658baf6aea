//! Each way for a machine to end is told apart.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tests::{Detached, Record, machine, monitor_of, recorded_machine, supervisor_of, vmrun};

#[test]
fn a_panic_is_reported_with_its_log() {
    let outcome =
        recorded_machine("busybox").shell("echo before; sleep 1; echo c >/proc/sysrq-trigger").run();
    let outcome = outcome.exits_with(125).says(&["before"]);
    let outcome =
        outcome.complains(&["kernel panicked", "Kernel panic - not syncing: sysrq triggered crash"]);
    let record = Record::of(&outcome);
    let log = record.kernel_log();
    assert!(
        log.contains("Linux version"),
        "an early line is in the log, though it booted quietly:\n{log:.2000}"
    );
    assert_eq!(record.description()["exit_code"], 125);
}

/// What `poweroff` does is asked of the process's own namespace, of which guest-init hears.
#[test]
fn a_power_off_ends_well_and_a_reboot_does_not() {
    machine("busybox").command(["poweroff", "-f"]).run().succeeds().complains(&["powered off"]);
    machine("busybox").command(["reboot", "-f"]).run().is_refused(&["reboot"]);
}

#[test]
fn a_machine_that_is_switched_off_or_reset_is_told_apart() {
    machine("busybox")
        .shell("echo o >/proc/sysrq-trigger; sleep 100")
        .run()
        .is_refused(&["powered itself off"]);
    machine("busybox").shell("echo b >/proc/sysrq-trigger; sleep 100").run().is_refused(&["rebooted"]);
}

#[test]
fn a_signal_reaches_the_process() {
    let script = "trap 'echo caught TERM; exit 7' TERM; trap 'echo caught USR1' USR1; echo ready; while :; do sleep 0.1; done";
    let mut running = machine("busybox").shell(script).start();
    running.says("ready");
    running.signal(Signal::USR1);
    running.says("caught USR1");
    running.signal(Signal::TERM);
    running.wait().exits_with(7).says(&["caught TERM"]);
}

/// A PID 1 without a handler is deaf to SIGTERM, so the user may insist.
#[test]
fn who_insists_ends_the_machine() {
    let mut running = machine("busybox").shell("echo ready; exec sleep 1000").start();
    running.says("ready");
    for _ in 0..3 {
        running.signal(Signal::TERM);
        thread::sleep(Duration::from_millis(200));
    }
    running.wait().exits_with(128 + 9).complains(&["killed the process"]);
}

/// The command that started a machine is only its first visitor.
#[test]
fn a_vmrun_that_is_killed_leaves_its_machine_running() {
    let script = "echo up; trap 'exit 3' TERM; while :; do sleep 0.1; done";
    let mut running = machine("busybox").with(["--name", "orphan"]).shell(script).start();
    running.says("up");
    let monitor = monitor_of(&running).expect("vmrun has a monitor");
    running.signal(Signal::KILL);
    running.wait().exits_with(128 + 9);
    vmrun(["ps", "--filter", "name=orphan"]).run().succeeds().says(&["orphan", "Up"]);
    vmrun(["stop", "orphan"]).run().succeeds();
    is_gone(monitor);
    vmrun(["inspect", "orphan"]).run().is_refused(&["orphan"]);
}

#[test]
fn a_supervisor_that_is_killed_leaves_no_monitor() {
    let machine = Detached::run(&[], "busybox", &["sleep", "1000"]);
    let [supervisor, monitor] = [".State.SupervisorPid", ".State.Pid"].map(|field| machine.inspect(field));
    kill(&supervisor);
    is_gone(monitor.parse().unwrap());
    assert_eq!(machine.inspect(".State.Status"), "exited");
    assert_eq!(machine.inspect(".State.ExitCode"), "137");
    machine.vmrun(&["exec"], &["true"]).run().is_refused(&["exited"]);
    machine.vmrun(&["start"], &[]).run().succeeds();
    machine.becomes("running");
}

/// Not even one whose guest is still booting and could not notice.
#[test]
fn a_supervisor_that_is_killed_early_leaves_no_monitor() {
    let running = machine("busybox").command(["sleep", "1000"]).start();
    let deadline = Instant::now() + Duration::from_secs(20);
    let monitor = loop {
        if let Some(monitor) = monitor_of(&running) {
            break monitor;
        }
        assert!(Instant::now() < deadline, "vmrun has no monitor");
        thread::sleep(Duration::from_millis(5));
    };
    thread::sleep(Duration::from_millis(300));
    kill(&supervisor_of(&running).expect("vmrun has a supervisor").to_string());
    running.wait().is_refused(&["supervisor was killed"]);
    is_gone(monitor);
}

#[test]
fn a_monitor_that_is_killed_is_reported() {
    let mut running = machine("busybox").shell("echo up; sleep 1000").start();
    running.says("up");
    let monitor = monitor_of(&running).expect("vmrun has a monitor");
    kill(&monitor.to_string());
    running.wait().exits_with(137).complains(&["monitor"]);
}

fn kill(pid: &str) {
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

/// Waits until a process is no more, or waits to be buried by a first process that has no time for it.
fn is_gone(pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| !status.contains("State:\tZ"))
    {
        assert!(Instant::now() < deadline, "process {pid} still runs");
        thread::sleep(Duration::from_millis(20));
    }
}
