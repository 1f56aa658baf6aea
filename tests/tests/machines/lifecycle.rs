//! From `run -d` or `create` to `rm`: what commands find, what they do, and what is left.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tests::{Detached, Terminal, machine, vmrun};

/// Counts, and ends well when it is asked to.
const COUNTER: &str = "trap 'echo ending; exit 3' TERM; echo on stderr >&2; n=0
    while :; do n=$((n + 1)); echo count $n; sleep 0.2; done";

#[test]
fn a_machine_lives_from_run_to_rm() {
    let words = ["--name", "counter", "--label", "kind=test", "--label", "plain"];
    let machine = Detached::shell(&words, "busybox", COUNTER);
    vmrun(["ps"]).run().succeeds().says(&[&machine.id, "counter", "Up "]);
    vmrun(["ps", "-q", "--filter", "label=kind=test"]).run().succeeds().says(&[&machine.id]);
    assert_eq!(vmrun(["ps", "-q", "--filter", "label=kind=other"]).run().succeeds().text(), "");
    machine.logs("count 2");
    let logs = machine.vmrun(&["logs"], &[]).run().succeeds();
    assert!(!logs.text().contains("stderr") && logs.stderr.contains("on stderr"), "{}", logs.text());
    machine.exec("echo kept >/root/kept; cat /etc/hosts >/root/hosts; echo changed >>/etc/hosts").succeeds();

    machine.vmrun(&["stop"], &[]).run().succeeds();
    assert_eq!([".State.Status", ".State.ExitCode"].map(|field| machine.inspect(field)), ["exited", "3"]);
    assert!(machine.logs("ending").ends_with("ending\n"));
    assert_eq!(vmrun(["ps", "-q"]).run().succeeds().text().find(&machine.id), None);
    vmrun(["ps", "-a", "--filter", "exited=3"]).run().succeeds().says(&[&machine.id, "Exited (3)"]);
    assert_eq!(machine.vmrun(&["logs", "--tail", "1"], &[]).run().succeeds().text(), "ending\n");
    let stamped = machine.vmrun(&["logs", "--tail", "1", "--timestamps"], &[]).run().succeeds().text();
    assert!(stamped.starts_with("20") && stamped.ends_with("Z ending\n"), "{stamped}");
    assert_eq!(machine.vmrun(&["logs", "--since", "2100-01-01"], &[]).run().succeeds().text(), "");
    machine.vmrun(&["logs", "--kernel-log"], &[]).run().succeeds().says(&["Linux version"]);

    machine.vmrun(&["start"], &[]).run().succeeds();
    let seen = machine.exec("cat /root/kept; cmp /etc/hosts /root/hosts && echo fresh").succeeds();
    assert_eq!(seen.text(), "kept\nfresh\n", "the disk lasts, and /etc/hosts is the machine's anew");
    machine.vmrun(&["rm"], &[]).run().is_refused(&["running", "-f"]);
    let directory = machine.directory();
    machine.vmrun(&["rm", "-f"], &[]).run().succeeds();
    assert!(!directory.exists() && !runtime(&machine.id).exists());
    assert_eq!(vmrun(["ps", "-aq"]).run().succeeds().text().find(&machine.id), None);
}

#[test]
fn stopping_asks_first_and_kills_then() {
    let deaf = Detached::run(&["--stop-timeout", "1"], "busybox", &["sleep", "1000"]);
    let begun = Instant::now();
    deaf.vmrun(&["stop"], &[]).run().succeeds();
    assert!(begun.elapsed() > Duration::from_secs(1));
    assert_eq!(deaf.inspect(".State.ExitCode"), "137");
    deaf.vmrun(&["stop"], &[]).run().succeeds();

    let script = "trap 'exit 5' USR2; echo up; while :; do sleep 0.1; done";
    let other = Detached::shell(&["--stop-signal", "SIGUSR2"], "busybox", script);
    other.logs("up");
    other.vmrun(&["stop"], &[]).run().succeeds();
    assert_eq!(other.inspect(".State.ExitCode"), "5");
    other.vmrun(&["kill"], &[]).run().is_refused(&["exited"]);
}

#[test]
fn all_who_wait_are_told() {
    let script = "trap 'echo usr1' USR1; trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done";
    let machine = Detached::shell(&[], "busybox", script);
    machine.logs("up");
    let waiting = [machine.vmrun(&["wait"], &[]).start(), machine.vmrun(&["wait"], &[]).start()];
    let following = machine.vmrun(&["logs", "--follow"], &[]).start();
    machine.vmrun(&["kill", "-s", "USR1"], &[]).run().succeeds();
    machine.logs("usr1");
    machine.vmrun(&["kill", "-s", "15"], &[]).run().succeeds();
    for waiting in waiting {
        assert_eq!(waiting.wait().succeeds().text(), "9\n");
    }
    assert_eq!(following.wait().succeeds().text(), "up\nusr1\n");
    assert_eq!(machine.vmrun(&["wait"], &[]).run().succeeds().text(), "9\n");
}

#[test]
fn a_machine_that_fails_is_started_again() {
    let machine = Detached::shell(&["--restart", "on-failure:2"], "busybox", "echo again; exit 7");
    let begun = Instant::now();
    while machine.inspect(".State.Status") != "exited" {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", machine.inspect(".State"));
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!([".RestartCount", ".State.ExitCode"].map(|field| machine.inspect(field)), ["2", "7"]);
    assert_eq!(machine.logs("again"), "again\nagain\nagain\n");

    let always = Detached::shell(&["--restart", "always"], "busybox", "echo again; sleep 1000");
    always.logs("again");
    kill(&always.inspect(".State.Pid"));
    let begun = Instant::now();
    while always.inspect(".RestartCount") != "1" || always.inspect(".State.Status") != "running" {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", always.inspect(".State"));
        thread::sleep(Duration::from_millis(200));
    }
    always.vmrun(&["restart", "-t", "0"], &[]).run().succeeds();
    always.becomes("running");
    always.vmrun(&["stop", "-t", "0"], &[]).run().succeeds();
    assert_eq!(always.inspect(".State.Status"), "exited", "who stops a machine wants it to stay so");
}

#[test]
fn a_paused_machine_stands_still() {
    let machine = Detached::shell(&[], "busybox", COUNTER);
    machine.logs("count 1");
    machine.vmrun(&["pause"], &[]).run().succeeds();
    vmrun(["ps"]).run().succeeds().says(&["(Paused)"]);
    let before = machine.logs("count");
    thread::sleep(Duration::from_secs(2));
    assert_eq!(machine.logs("count"), before);
    machine.vmrun(&["exec"], &["true"]).run().is_refused(&["paused"]);
    machine.vmrun(&["pause"], &[]).run().is_refused(&["paused already"]);
    machine.vmrun(&["unpause"], &[]).run().succeeds();
    let next = format!("count {}", before.lines().filter(|line| line.starts_with("count")).count() + 2);
    machine.logs(&next);
    machine.vmrun(&["unpause"], &[]).run().is_refused(&["not paused"]);
    machine.vmrun(&["pause"], &[]).run().succeeds();
    machine.vmrun(&["stop"], &[]).run().succeeds();
    assert_eq!(machine.inspect(".State.ExitCode"), "3");
}

#[test]
fn a_terminal_is_left_and_found_again() {
    let command = machine("busybox").with(["-it", "--name", "shell"]).command(["sh"]);
    let mut terminal = Terminal::start(24, 80, command);
    terminal.types("mark=he''re; echo my $mark\r");
    terminal.shows("my here");
    terminal.types("\x10\x11");
    terminal.wait().succeeds();
    vmrun(["ps"]).run().succeeds().says(&["shell", "Up"]);

    let mut again = Terminal::start(30, 90, vmrun(["attach", "shell"]));
    again.types("echo still $mark; stty size\r");
    again.shows("still here");
    again.shows("30 90");
    again.types("exit 6\r");
    again.wait().exits_with(6);
    vmrun(["inspect", "shell"]).run().is_refused(&["shell"]);
}

#[test]
fn everybody_who_attaches_sees_the_output() {
    let machine = Detached::shell(&["-i"], "busybox", "while read word; do echo heard $word; done; echo end");
    let listener = machine.vmrun(&["attach", "--no-stdin"], &[]).start();
    let mut speaker = machine.vmrun(&["attach"], &[]).start_with_stdin();
    let mut pipe = speaker.stdin().unwrap();
    // Who attaches sees what is written from then on.
    let until = Instant::now() + Duration::from_secs(60);
    while !listener.text().contains("heard one") {
        assert!(Instant::now() < until, "the listener hears nothing");
        std::io::Write::write_all(&mut pipe, b"one\n").unwrap();
        thread::sleep(Duration::from_millis(500));
    }
    std::io::Write::write_all(&mut pipe, b"two\n").unwrap();
    drop(pipe);
    for one in [speaker, listener] {
        let seen = one.wait().succeeds().text();
        assert!(seen.ends_with("heard one\nheard two\nend\n"), "{seen}");
    }
}

#[test]
fn a_machine_is_made_first_and_started_later() {
    let directory = tempfile::tempdir().unwrap();
    let cidfile = directory.path().join("id");
    let words = ["-i", "--cidfile", cidfile.to_str().unwrap(), "--hostname", "made"];
    let machine = Detached::create(&words, "busybox", &["sh", "-c", "cat; hostname; exit 4"]);
    assert_eq!(fs::read_to_string(&cidfile).unwrap(), machine.id);
    assert_eq!(machine.inspect(".State.Status"), "created");
    vmrun(["create", "--cidfile", cidfile.to_str().unwrap(), "busybox"]).run().is_refused(&["--cidfile"]);
    let unit = directory.path().join("vmrun-made.service");
    fs::write(&unit, machine.vmrun(&["generate", "systemd"], &[]).run().succeeds().text()).unwrap();
    let checked = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
    assert!(
        checked.status.success() && checked.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    let seen = machine.vmrun(&["start", "-ai"], &[]).stdin("hello\n").run().exits_with(4);
    assert_eq!(seen.text(), "hello\nmade\n");
    machine.vmrun(&["attach"], &[]).run().is_refused(&["exited"]);
}

#[test]
fn machines_are_listed_as_one_likes() {
    let directory = tempfile::tempdir().unwrap();
    let labels = directory.path().join("labels");
    fs::write(&labels, "# a comment\nfrom=file\nboth=file\n").unwrap();
    let words = ["--label-file", labels.to_str().unwrap(), "-l", "both=line", "--name", "listed-first"];
    let first = Detached::create(&words, "busybox", &["echo", "a command that is longer than others are"]);
    assert_eq!(first.inspect(".Config.Labels.from"), "file");
    assert_eq!(first.inspect(".Config.Labels.both"), "line");
    let second = Detached::create(&["--name", "listed-second"], "busybox", &["true"]);
    let ps = |words: &[&str]| vmrun([&["ps"], words].concat()).run().succeeds().text();
    assert_eq!(ps(&["-aq", "-f", "name=listed"]), format!("{}\n{}\n", second.id, first.id));
    assert_eq!(ps(&["-q", "--latest"]), format!("{}\n", second.id));
    assert_eq!(ps(&["-q", "-n", "2"]), format!("{}\n{}\n", second.id, first.id));
    assert!(ps(&["-a", "-f", "name=listed-first"]).contains("…\""));
    assert!(ps(&["-a", "--no-trunc"]).contains("\"echo a command that is longer than others are\""));
    assert!(ps(&["-a", "--size"]).lines().next().unwrap().ends_with("SIZE"));
    let list: Vec<serde_json::Value> = serde_json::from_str(&ps(&["-a", "--format", "json"])).unwrap();
    let found = list.iter().find(|machine| machine["id"] == *first.id).unwrap();
    assert_eq!((&found["name"], &found["status"]), (&"listed-first".into(), &"created".into()));
    vmrun(["ps", "--filter", "colour=red"]).run().is_refused(&["colour"]);
    vmrun(["rm", "listed-first", "nobody", "listed-second"]).run().is_refused(&["nobody"]);
    assert_eq!(ps(&["-aq", "-f", "name=listed"]), "", "one mistake does not keep the others");
}

#[test]
fn signals_stay_where_they_are_wanted() {
    let script = "trap 'exit 4' TERM; echo up; while :; do sleep 0.1; done";
    let mut running =
        machine("busybox").with(["--sig-proxy=false", "--name", "unmoved"]).shell(script).start();
    running.says("up");
    running.signal(rustix::process::Signal::TERM);
    // As Docker's, vmrun is ended by what it does not pass on, and the machine runs.
    running.wait().exits_with(128 + 15);
    vmrun(["ps"]).run().succeeds().says(&["unmoved"]);
    vmrun(["stop", "unmoved"]).run().succeeds();
}

#[test]
fn with_rm_nothing_stays() {
    let machine = Detached::run(&["--rm"], "busybox", &["sleep", "1000"]);
    assert!(machine.directory().join("upper.ext4").exists());
    machine.vmrun(&["stop", "-t", "0"], &[]).run().succeeds();
    assert!(!machine.directory().exists() && !runtime(&machine.id).exists());
    machine.vmrun(&["logs"], &[]).run().is_refused(&["no machine"]);
}

#[test]
fn what_happens_is_told() {
    let before = vmrun(["events", "--until", "0s"]).run().succeeds().text().lines().count();
    let machine = Detached::run(&["--name", "eventful"], "busybox", &["sh", "-c", "exit 2"]);
    assert_eq!(machine.vmrun(&["wait"], &[]).run().succeeds().text(), "2\n");
    machine.vmrun(&["rename"], &["renamed"]).run().succeeds();
    vmrun(["rm", "renamed"]).run().succeeds();
    let words = ["events", "--until", "0s", "--format", "json", "--filter"];
    let events = vmrun([&words[..], &[&format!("machine={}", machine.id)]].concat()).run().succeeds().text();
    let events: Vec<serde_json::Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let actions: Vec<&str> = events.iter().filter_map(|event| event["action"].as_str()).collect();
    assert_eq!(actions, ["create", "start", "die", "rename", "destroy"]);
    assert_eq!(events[2]["exit_code"], 2);
    assert!(vmrun(["events", "--until", "0s"]).run().succeeds().text().lines().count() >= before + 5);
}

/// Each of many machines, started at once, answers, and leaves nothing behind.
#[test]
fn many_machines_come_and_go() {
    come_and_go(6);
}

#[test]
#[ignore = "for make test-long: thirty machines"]
fn thirty_machines_come_and_go() {
    come_and_go(30);
}

fn come_and_go(count: usize) {
    // What the first machine of a state directory leaves is for all.
    drop(Detached::create(&[], "busybox", &["true"]));
    let before = surroundings();
    let starting: Vec<_> = (0..count)
        .map(|number| {
            let name = format!("crowd{number}");
            vmrun(["run", "-d", "-m", "128m", "--name", &name, "busybox", "sleep", "100000"])
                .patience(Duration::from_secs(400))
                .start()
        })
        .collect();
    starting.into_iter().for_each(|start| drop(start.wait().succeeds()));
    let names: Vec<String> = (0..count).map(|number| format!("crowd{number}")).collect();
    let asked: Vec<_> = names.iter().map(|name| vmrun(["exec", name, "hostname"]).start()).collect();
    let answers: HashSet<String> = asked.into_iter().map(|exec| exec.wait().succeeds().text()).collect();
    assert_eq!(answers.len(), count, "{answers:?}");
    let words = [&["rm".to_owned(), "-f".to_owned()], &names[..]].concat();
    vmrun(words).patience(Duration::from_secs(400)).run().succeeds();
    let begun = Instant::now();
    while surroundings() != before {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{:?}",
            surroundings().symmetric_difference(&before)
        );
        thread::sleep(Duration::from_millis(200));
    }
}

/// vmrun's processes, mounts and files.
fn surroundings() -> HashSet<String> {
    let mut seen = HashSet::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        if words.starts_with("vmrun\0") {
            seen.insert(format!("{} {words}", entry.file_name().to_string_lossy()));
        }
    }
    let files = |directory: &Path| -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().display().to_string()).collect()
    };
    seen.extend(files(Path::new("/run/vmrun")));
    seen.extend(files(&Path::new(&tests::setting("VMRUN_HOME")).join("machines")));
    seen.extend(fs::read_to_string("/proc/mounts").unwrap().lines().map(str::to_owned));
    seen
}

fn runtime(id: &str) -> std::path::PathBuf {
    Path::new("/run/vmrun").join(id)
}

fn kill(pid: &str) {
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
