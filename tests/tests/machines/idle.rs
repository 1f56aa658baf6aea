//! A machine with nothing to do costs its host nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tests::{machine, monitor_of, supervisor_of};

/// By then a machine has done what its start did not wait for.
const SETTLING: Duration = Duration::from_secs(8);
const WATCHED: Duration = Duration::from_secs(10);

/// How often each thread of a process has gone to sleep: as often as it was woken. Not those of vCPUs, which the guest
/// itself keeps busy.
fn sleeps(process: u32) -> BTreeMap<String, u64> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    let sleeps = |task: &Path| {
        let read = |name| fs::read_to_string(task.join(name)).ok();
        let (name, status) = (read("comm")?, read("status")?);
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        let name = format!("{} {}", name.trim(), task.file_name()?.to_string_lossy());
        (!name.starts_with("vcpu")).then_some((name, count.trim().parse().ok()?))
    };
    tasks.filter_map(|task| sleeps(&task.path())).collect()
}

#[test]
fn nobody_wakes_for_an_idle_machine() {
    let mut running = machine("busybox").with(["--cpus", "2"]).shell("echo up; exec sleep 1000").start();
    running.says("up");
    thread::sleep(SETTLING);
    let processes = [
        ("monitor", monitor_of(&running).expect("the machine has a monitor")),
        ("supervisor", supervisor_of(&running).expect("the machine has a supervisor")),
    ];
    let before = processes.map(|(_, process)| sleeps(process));
    let begun = Instant::now();
    thread::sleep(WATCHED);
    let seconds = begun.elapsed().as_secs() + 1;
    for ((name, process), before) in processes.into_iter().zip(before) {
        assert!(!before.is_empty());
        for (thread, count) in sleeps(process) {
            let woken = count - before.get(&thread).unwrap_or(&0);
            println!("{name}, thread {thread}: woken {woken} times in {seconds} s");
            assert!(woken <= seconds, "{name}: thread {thread} was woken {woken} times in {seconds} s");
        }
    }
}
