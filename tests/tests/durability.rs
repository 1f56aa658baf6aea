//! What a guest has synced is there after a crash: of vmrun's processes (tests/tests/machines/durability.rs), and here
//! of the whole host, which is an emulated one, so that it can be killed.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tests::{Command, Outcome, child_of, setting, vmrun};

/// Synced lines before the host is killed.
const ROUNDS: usize = 100;

/// Ample for an emulated host on a busy computer.
const PATIENCE: Duration = Duration::from_secs(400);

/// Appends numbers to a file, each synced before it is said; when it is told to, shows the file instead.
const WRITER: &str = "read word; if [ \"$word\" = show ]; then cat /root/log; exit; fi
    i=0; while :; do i=$((i + 1)); echo $i >>/root/log; sync /root/log; echo $i; done";

#[test]
fn what_is_synced_outlasts_the_host() {
    let (said, shown) = crash("lasting", &[]);
    let found = lines(&shown.succeeds().text());
    let whole: Vec<String> = (1..=found.len()).map(|number| number.to_string()).collect();
    assert_eq!(found, whole, "the lines are there from the first to the last");
    assert!(found.len() >= said, "{said} lines were synced and said, {} are there", found.len());
    eprintln!("said {said} synced lines, found {}", found.len());
}

/// Or the test above would prove nothing.
#[test]
fn without_flushes_it_would_not() {
    let (said, shown) = crash("fleeting", &["--disk-flush=false"]);
    // The disk may even be past mounting.
    let found = lines(&shown.text());
    assert!(found.len() < said, "{said} lines were said, and {} are there without a flush", found.len());
    eprintln!("without flushes: said {said} synced lines, found {}", found.len());
}

/// Kills an emulated host in which a machine writes; the number of lines that were said to be synced before, and what
/// shows them afterwards.
fn crash(name: &str, words: &[&str]) -> (usize, Outcome) {
    let _ = inside(&["rm", "-f", name]).run();
    let running =
        inside(&[&["run", "-i", "--name", name], words, &["busybox", "sh", "-c", WRITER]].concat()).start();
    let begun = Instant::now();
    while running.text().lines().count() < ROUNDS {
        assert!(begun.elapsed() < PATIENCE, "the guest is too slow:\n{}", running.text());
        thread::sleep(Duration::from_millis(50));
    }
    let qemu = child_of(running.pid().as_raw_nonzero().get() as u32).expect("the emulated host has a QEMU");
    kill_process(Pid::from_raw(qemu as i32).unwrap(), Signal::KILL).unwrap();
    // What was on its way to here counts: it was said after it was synced.
    let said = running.wait().text().lines().count();
    let shown = inside(&["start", "--attach", "--interactive", name]).stdin("show\n").run();
    inside(&["rm", "-f", name]).run();
    (said, shown)
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// A `vmrun` on an emulated host that keeps what is written to the state directory in its page cache, as a host does that
/// has it on a disk. Else all that is written would go on at once, and nothing could be lost.
fn inside(words: &[&str]) -> Command {
    let own = setting("VMRUN");
    vmrun([&["emulate", "--memory", "2g", "--write-back", "--", &own], words].concat()).patience(PATIENCE)
}
