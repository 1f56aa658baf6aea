//! The emulated host that stays: one for each state directory, for as long as it is used.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tests::setting;

use super::home::{Home, ends};

/// The first use starts it and says so; the next ones find it, until it is stopped.
#[test]
fn it_starts_once_and_is_stopped() {
    let home = Home::new();
    assert!(home.status().is_none());
    home.vmrun(&["emulate", "stop"]).run().succeeds().says(&["no emulated host runs"]);
    let begun = Instant::now();
    let first = home.vmrun(&["emulate", "spawn", "doctor"]).run().succeeds();
    let start = begun.elapsed();
    first.says(&["virtualization (AMD-V)"]).complains(&["starting an emulated host"]);
    let qemu = home.qemu();

    let begun = Instant::now();
    let second = home.vmrun(&["emulate", "spawn", "doctor"]).run().succeeds();
    let use_of_it = begun.elapsed();
    assert_eq!(second.says(&["virtualization (AMD-V)"]).stderr, "");
    assert!(use_of_it < start / 2, "{use_of_it:?} after {start:?}");
    assert_eq!(home.qemu(), qemu);
    assert_eq!(home.status().unwrap()["memory"], 2_u64 << 30);

    home.vmrun(&["emulate", "stop"]).run().succeeds();
    ends(qemu);
    assert!(home.status().is_none());
}

#[test]
fn commands_at_once_start_one_and_each_directory_has_its_own() {
    let (home, other) = (Home::new(), Home::new());
    let running: Vec<_> = (0..5).map(|_| home.vmrun(&["emulate", "spawn", "doctor"]).start()).collect();
    let outcomes: Vec<_> = running.into_iter().map(|vmrun| vmrun.wait().succeeds()).collect();
    let starts = outcomes.iter().filter(|outcome| outcome.stderr.contains("starting")).count();
    assert_eq!(starts, 1, "hosts were started");
    assert!(other.status().is_none());
    other.touch();
    assert_ne!(home.qemu(), other.qemu());
    drop(other);
    home.touch();
}

/// What is there of files is this host's, at once and both ways; and a socket that is not there is
/// missed as it would be here.
#[test]
fn files_are_seen_at_once_in_both_directions() {
    let home = Home::new();
    home.touch();
    let file = home.path().join("images");
    // The store is what a vmrun in there sees of it: an image that came later, and one that went.
    let images = || home.vmrun(&["emulate", "spawn", "images"]).run().succeeds().text();
    assert_eq!(images().lines().count(), 1, "only a heading");
    let tar = Path::new(&setting("VMRUN_CACHE")).join("tests/images/busybox.tar");
    home.vmrun(&["import", "--quiet", tar.to_str().unwrap(), "from-outside"]).run().succeeds();
    assert!(images().contains("from-outside"));
    home.vmrun(&["emulate", "spawn", "tag", "from-outside", "from-inside"]).run().succeeds();
    home.vmrun(&["images"]).run().succeeds().says(&["from-inside"]);
    home.vmrun(&["rmi", "from-outside"]).run().succeeds();
    assert!(!images().contains("from-outside"));
    assert!(file.exists());

    let missing = home.path().join("socket");
    let words = ["emulate", "connect", missing.to_str().unwrap()];
    home.vmrun(&words).run().is_refused(&["cannot connect", "No such file"]);
}

#[test]
fn it_ends_when_nobody_uses_it_and_when_its_directory_is_gone() {
    let home = Home::new();
    let words = ["emulate", "spawn", "doctor"];
    home.vmrun(&words).env("VMRUN_EMULATED_LINGER", "3").run().succeeds();
    let qemu = home.qemu();
    home.touch();
    ends(qemu);
    assert!(home.status().is_none());

    home.touch();
    let (qemu, socket) = (home.qemu(), home.socket());
    assert!(socket.exists());
    fs::remove_dir_all(home.path()).unwrap();
    ends(qemu);
    // The one that held it takes its socket along.
    let deadline = Instant::now() + Duration::from_secs(10);
    while socket.exists() {
        assert!(Instant::now() < deadline, "{} is left", socket.display());
    }
    fs::create_dir(home.path()).unwrap();
}

/// Killed at any point, it is told as not running, and the next use starts another one.
#[test]
fn a_killed_one_is_noticed() {
    let home = Home::new();
    for _ in 0..2 {
        home.touch();
        let qemu = home.qemu();
        kill_process(qemu, Signal::KILL).unwrap();
        ends(qemu);
        assert!(home.status().is_none());
    }
    home.touch();
    let qemu = home.qemu();
    let parent = fs::read_to_string(format!("/proc/{}/status", qemu.as_raw_nonzero())).unwrap();
    let holder = parent.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse();
    kill_process(Pid::from_raw(holder.unwrap()).unwrap(), Signal::KILL).unwrap();
    ends(qemu);
    assert!(home.status().is_none());
    home.touch();
}

#[test]
fn what_does_not_fit_is_refused_in_one_line() {
    let home = Home::new();
    let words = ["emulate", "spawn", "--memory", "3g", "doctor"];
    let outcome = home.vmrun(&words).run().exits_with(125);
    let lines: Vec<_> = outcome.stderr.lines().filter(|line| !line.contains("starting")).collect();
    assert_eq!(lines.len(), 1, "{}", outcome.stderr);
    assert!(lines[0].contains("3072 MiB does not fit") && lines[0].contains("VMRUN_EMULATED_MEMORY"));
    // Nothing is in the way of a larger one.
    home.vmrun(&words).env("VMRUN_EMULATED_MEMORY", "4g").run().succeeds();
    assert_eq!(home.status().unwrap()["memory"], 4_u64 << 30);
}

/// After an upgrade, what runs in the emulated host is what was installed last.
#[test]
fn another_vmrun_gets_another_host() {
    let home = Home::new();
    home.touch();
    let old = home.qemu();
    let installed = tempfile::tempdir().unwrap();
    let vmrun = Path::new(&setting("VMRUN")).to_owned();
    for file in ["vmrun", "guest-init"] {
        fs::copy(vmrun.with_file_name(file), installed.path().join(file)).unwrap();
    }
    let mut newer = Command::new(installed.path().join("vmrun"));
    let newer = newer.args(["emulate", "spawn", "doctor"]).env("VMRUN_HOME", home.path()).output().unwrap();
    assert!(newer.status.success(), "{}", String::from_utf8_lossy(&newer.stderr));
    ends(old);
    assert_ne!(home.qemu(), old);
}

/// Whatever comes to the socket that it listens on, it goes on.
#[test]
fn garbage_on_its_socket_harms_nobody() {
    let home = Home::new();
    home.touch();
    let qemu = home.qemu();
    let socket = home.socket();
    let mut silent = Vec::new();
    for round in 0..300_usize {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let garbage: Vec<u8> = (0..round * 7).map(|index| (index * round) as u8).collect();
        // It may have had enough already.
        let _ = stream.write_all(&garbage);
        silent.push(stream);
    }
    home.touch();
    assert_eq!(home.qemu(), qemu);
}
