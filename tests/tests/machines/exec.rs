//! More commands in a machine that runs.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tests::{Detached, Terminal};

fn machine() -> Detached {
    Detached::shell(&[], "busybox", "echo up; exec sleep 100000")
}

#[test]
fn streams_and_codes_are_exact() {
    let machine = machine();
    let exec = |words: &[&str]| machine.vmrun(&["exec"], words).run();
    let said = machine.exec("echo out; echo err >&2; exit 42").exits_with(42);
    assert_eq!((said.text().as_str(), said.stderr.as_str()), ("out\n", "err\n"));
    machine.exec("kill -9 $$").exits_with(137);
    machine.exec("kill -TERM $$").exits_with(143);
    // What a machine's own process is told to have ended of when its system went down.
    machine.exec("kill -INT $$").exits_with(130);
    machine.exec("kill -HUP $$").exits_with(129);
    exec(&["nosuch"]).exits_with(127).complains(&["nosuch", "not found"]);
    exec(&["/etc"]).exits_with(126).complains(&["/etc"]);
    machine.vmrun(&["exec", "-w", "/nope"], &["true"]).run().exits_with(127).complains(&["/nope"]);
    machine.vmrun(&["exec", "-u", "nobody-here"], &["true"]).run().is_refused(&["nobody-here"]);

    let bytes: Vec<u8> = (0..500_000u32).flat_map(u32::to_le_bytes).collect();
    let back = machine.vmrun(&["exec", "-i"], &["cat"]).stdin(bytes.clone()).run().succeeds();
    assert!(back.stdout == bytes, "{} of {} bytes", back.stdout.len(), bytes.len());
    // Without -i there is no input, and nobody waits for it.
    let none = machine.vmrun(&["exec"], &["cat"]).stdin("lost").run().succeeds();
    assert_eq!(none.text(), "");
}

#[test]
fn it_is_in_the_machine_as_its_process_is() {
    let machine = Detached::shell(&["-e", "COLOUR=blue", "-w", "/data"], "busybox", "exec sleep 100000");
    let script =
        "echo directory $(pwd); echo colour $COLOUR; echo added $ADDED; echo home $HOME; echo user $(id -u);
        echo cgroup $(cat /proc/self/cgroup); echo first $(cat /proc/1/comm); echo host $HOSTNAME;
        touch /data/by-exec";
    let seen = machine.vmrun(&["exec", "-e", "ADDED=yes"], &["sh", "-c", script]).run().succeeds();
    for (name, value) in [
        ("directory", "/data"),
        ("colour", "blue"),
        ("added", "yes"),
        ("home", "/root"),
        ("user", "0"),
        ("cgroup", "0::/"),
        ("first", "sleep"),
        ("host", &machine.id),
    ] {
        assert_eq!(seen.value(name), value, "{name}");
    }
    let other =
        machine.vmrun(&["exec", "-u", "alice", "-w", "/tmp"], &["sh", "-c", "echo is $(id -un) $(pwd)"]);
    assert_eq!(other.run().succeeds().value("is"), "alice /tmp");
    machine.exec("test -e /data/by-exec").succeeds();
}

/// A program that divides its cgroup leaves no room for others beside it: they go where it has gone.
#[test]
fn a_machine_may_divide_its_cgroup() {
    let script = "cd /sys/fs/cgroup && mkdir inner && echo $$ >inner/cgroup.procs && echo +pids >cgroup.subtree_control &&
        touch /tmp/divided; exec sleep 100000";
    let machine = Detached::shell(&["--pids-limit", "100"], "busybox", script);
    machine
        .exec("until test -e /tmp/divided; do sleep 0.1; done; echo in $(cat /proc/self/cgroup)")
        .succeeds();
    assert_eq!(machine.exec("echo in $(cat /proc/self/cgroup)").value("in"), "0::/inner");
    machine.vmrun(&["pause"], &[]).run().succeeds();
    machine.vmrun(&["unpause"], &[]).run().succeeds();
}

#[test]
fn a_terminal_is_one() {
    let machine = machine();
    let mut terminal =
        Terminal::start(31, 97, machine.vmrun(&["exec", "-it"], &["sh", "-c", "stty size; exec sh"]));
    terminal.shows("31 97");
    terminal.resize(40, 120);
    terminal.types("until [ \"$(stty size)\" = '40 120' ]; do sleep 0.1; done; echo resi''zed\r");
    terminal.shows("resized");
    terminal.types("sleep 1000 || echo inter''rupted\r");
    thread::sleep(Duration::from_secs(1));
    terminal.types("\x03");
    terminal.types("echo sta''tus $?\r");
    terminal.shows("status 130");
    terminal.types("exit 9\r");
    terminal.wait().exits_with(9);

    let mut terminal = Terminal::start(
        24,
        80,
        machine.vmrun(&["exec", "-it"], &["sh", "-c", "echo rea''dy; exec sleep 4711"]),
    );
    terminal.shows("ready");
    terminal.types("\x10\x11");
    terminal.wait().succeeds();
    machine.exec("pidof sleep | wc -w").says(&["2"]);
}

/// As in Docker, whose clients are often ended.
#[test]
fn a_command_whose_host_is_gone_goes_on() {
    let machine = machine();
    let mut client = machine
        .vmrun(
            &["exec"],
            &["sh", "-c", "echo ready; while echo more; do echo tick >>/tmp/ticks; sleep 0.1; done"],
        )
        .start();
    client.says("ready");
    client.signal(Signal::KILL);
    drop(client);
    let ticks = || machine.exec("echo ticks $(wc -l </tmp/ticks)").number("ticks");
    let before = ticks();
    thread::sleep(Duration::from_secs(2));
    assert!(ticks() > before, "it was kept from writing");

    let mut client = machine
        .vmrun(
            &["exec"],
            &["sh", "-c", "trap 'echo asked; exit 7' TERM; echo ready; while :; do sleep 0.1; done"],
        )
        .start();
    client.says("ready");
    client.signal(Signal::TERM);
    client.wait().exits_with(7).says(&["asked"]);

    machine
        .vmrun(&["exec", "-d"], &["sh", "-c", "echo lost; sleep 1; echo done >/tmp/detached"])
        .run()
        .succeeds();
    machine.exec("until test -e /tmp/detached; do sleep 0.1; done; cat /tmp/detached").says(&["done"]);
    // One that leaves others behind does not wait for them.
    machine.exec("sleep 100000 & echo left").says(&["left"]);
    machine.exec("while echo tick; do echo tick >>/tmp/left; sleep 0.1; done & echo left").says(&["left"]);
    let left = || machine.exec("echo left $(wc -l </tmp/left)").number("left");
    let before = left();
    thread::sleep(Duration::from_secs(2));
    assert!(left() > before, "what was left behind was kept from writing");
}

#[test]
fn a_hundred_at_once() {
    let machine = machine();
    let start = |number: usize| {
        let script = format!("cat; echo {number}; exit {}", number % 50);
        let exec = machine.vmrun(&["exec", "-i"], &["sh", "-c", &script]);
        exec.patience(Duration::from_secs(600)).start_with_stdin()
    };
    let mut running: Vec<_> = (0..100).map(start).collect();
    for client in &mut running {
        drop(client.stdin());
    }
    for (number, client) in running.into_iter().enumerate() {
        assert_eq!(client.wait().exits_with(number as i32 % 50).text(), format!("{number}\n"));
    }
    let left = machine.exec("echo processes $(ls -d /proc/[0-9]* | wc -l)").number("processes");
    // The machine's own, and the pipeline that counts.
    assert!(left <= 6, "{left} processes are left");
}

#[test]
fn the_machines_end_is_the_commands() {
    let machine = machine();
    let mut client = machine.vmrun(&["exec"], &["sh", "-c", "echo ready; exec sleep 100000"]).start();
    client.says("ready");
    machine.vmrun(&["stop", "-t", "0"], &[]).run().succeeds();
    client.wait().exits_with(137);
    machine.vmrun(&["exec"], &["true"]).run().is_refused(&["does not run"]);
}

#[test]
fn a_paused_machine_stands_still_and_is_looked_into() {
    let machine = Detached::shell(
        &[],
        "busybox",
        "while :; do cut -d ' ' -f 1 /proc/uptime >>/tmp/ticks; sleep 0.05; done",
    );
    machine.exec("until test -e /tmp/ticks; do sleep 0.1; done").succeeds();
    machine.vmrun(&["pause"], &[]).run().succeeds();
    machine.becomes("paused");
    machine.vmrun(&["exec"], &["true"]).run().is_refused(&["paused"]);
    let rows = machine.vmrun(&["top"], &[]).run().succeeds().text();
    assert!(rows.lines().any(|row| row.contains("sh -c while")), "{rows}");
    thread::sleep(Duration::from_secs(10));
    machine.vmrun(&["unpause"], &[]).run().succeeds();
    machine.exec("sleep 1").succeeds();
    // The guest's clock has gone on; the longest time without a tick is that of the pause.
    let longest = "awk 'NR > 1 && $1 - last > most { most = $1 - last; at = NR } { last = $1 }
        END { print \"pause\", int(most); print \"after\", NR - at }' /tmp/ticks";
    let seen = machine.exec(longest).succeeds();
    assert!(seen.number("pause") >= 9, "{}", seen.text());
    assert!(seen.number("after") > 0, "{}", seen.text());
}

#[test]
fn what_runs_and_what_is_used_is_told() {
    let machine = Detached::shell(
        &["-m", "256m"],
        "busybox",
        "head -c 20000000 /dev/zero >/tmp/file; sync; exec sleep 4711",
    );
    machine.exec("until pidof sleep; do sleep 0.1; done").succeeds();
    let rows = machine.vmrun(&["top"], &[]).run().succeeds().text();
    let row: Vec<&str> =
        rows.lines().find(|row| row.ends_with("sleep 4711")).unwrap().split_whitespace().collect();
    assert_eq!(row[..3], ["root", "1", "0"], "{rows}");
    machine.vmrun(&["top"], &["-o", "pid"]).run().is_refused(&["-ef"]);

    let stats = machine.vmrun(&["stats", "--no-stream", "--format", "json"], &[]).run().succeeds().text();
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    let number = |name: &str| stats[name].as_u64().unwrap_or_else(|| panic!("{name}: {stats}"));
    assert_eq!((number("Pids"), number("MemoryLimit")), (1, 256 << 20), "{stats}");
    assert!((1 << 20..200 << 20).contains(&number("MemoryUsed")), "{stats}");
    assert!(number("DiskWritten") >= 20_000_000 && number("Layer") >= 20_000_000, "{stats}");
    assert!(number("HostMemory") > 30 << 20, "{stats}");
    assert!(stats["Cpu"].as_f64().unwrap() < 2.0, "{stats}");
}
