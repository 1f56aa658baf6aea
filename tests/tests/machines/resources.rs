//! What the guest is given and what its process may do; and what its monitor takes besides.

use std::fs;

use tests::{Detached, machine};

const MIB: u64 = 1024;

#[test]
fn a_machine_has_the_processors_it_was_given() {
    for cpus in [1, 2, 4] {
        let cpus = cpus.to_string();
        let seen = machine("busybox")
            .with(["--cpus", &cpus])
            .shell("echo online $(nproc); for cpu in $(seq 0 $(($(nproc) - 1))); do taskset -c $cpu true && echo ran on $cpu; done")
            .run()
            .succeeds();
        assert_eq!(seen.value("online"), cpus);
        assert_eq!(seen.text().lines().filter(|line| line.starts_with("ran on")).count().to_string(), cpus);
    }
}

/// The floor, and more than fits below the gap of 32-bit devices at 3 GiB.
#[test]
fn little_and_much_memory() {
    let little = machine("busybox").with(["-m", "128m"]).command(["cat", "/proc/meminfo"]).run().succeeds();
    let total = little.number("MemTotal");
    assert!((40 * MIB..128 * MIB).contains(&total), "{total} kB");
    let much = machine("busybox").with(["--memory", "4g"]).command(["cat", "/proc/meminfo"]).run().succeeds();
    let total = much.number("MemTotal");
    assert!((3800 * MIB..4096 * MIB).contains(&total), "{total} kB");
}

/// Modules and guest-init were unpacked into memory as files. They are gone when the command runs:
/// guest-init has measured what the old root still holds (its own pages), and all the file pages
/// that are in memory, which with a mapped image are the bootfs and tmpfs alone, come to little more.
#[test]
fn nothing_of_the_bootfs_is_left() {
    let seen = machine("busybox")
        .shell("until dmesg | grep -q 'bytes left of the bootfs'; do sleep 0.1; done; dmesg | sed -n 's/.*bytes left of the bootfs: /left /p'; ls -d /modules /init /config 2>&1; cat /proc/meminfo")
        .run()
        .succeeds();
    let own = fs::metadata(std::path::Path::new(&tests::setting("VMRUN")).with_file_name("guest-init"))
        .unwrap()
        .len();
    let left = seen.number("left");
    assert!(left <= own.next_multiple_of(4096), "{left} bytes of the bootfs are left, guest-init has {own}");
    let files = seen.number("Cached") * 1024;
    assert!(files < own + (1 << 20), "{files} bytes of files are in memory, guest-init has {own}");
    assert_eq!(seen.text().matches("No such file").count(), 3, "{}", seen.text());
}

/// Everything that a machine in the background keeps in memory beside the guest's and its image: its monitor and its
/// supervisor, what they share counted once.
#[test]
fn a_machine_takes_little_memory_besides_its_guests() {
    let machine = Detached::run(&["-m", "256m", "--cpus", "2"], "busybox", &["sleep", "1000"]);
    let [supervisor, monitor] =
        [".State.SupervisorPid", ".State.Pid"].map(|field| own_memory(&machine.inspect(field)));
    assert!(monitor.guest > 16 * MIB, "the guest's memory was found: {monitor:?}");
    println!("monitor: {} kB of its own; supervisor: {} kB", monitor.own, supervisor.own);
    assert!(supervisor.guest == 0 && monitor.own + supervisor.own <= 8 * MIB, "{monitor:?}, {supervisor:?}");
}

/// Proportional set sizes in kB.
#[derive(Debug, Default)]
struct Memory {
    own: u64,
    /// The guest's memory, and its image.
    guest: u64,
}

fn own_memory(pid: &str) -> Memory {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let (mut memory, mut of_guest) = (Memory::default(), false);
    for line in smaps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some((from, to)) = words.first().and_then(|range| range.split_once('-'))
            && let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16))
        {
            let image =
                words.last().is_some_and(|path| path.contains("/layers/") || path.contains("/images/"));
            of_guest = image || to - from >= 128 << 20;
        } else if words.first() == Some(&"Pss:") {
            let resident: u64 = words[1].parse().unwrap();
            if of_guest { memory.guest += resident } else { memory.own += resident }
        }
    }
    memory
}

#[test]
fn limits_are_the_processs() {
    let seen = machine("busybox")
        .with([
            "--ulimit",
            "nofile=100:200",
            "--ulimit",
            "core=0",
            "--ulimit",
            "nproc=-1",
            "--oom-score-adj=500",
        ])
        .with(["--pids-limit", "20"])
        .shell(
            "echo files $(ulimit -n) $(ulimit -Hn); echo core $(ulimit -c); echo nproc $(ulimit -u);
             echo score $(cat /proc/self/oom_score_adj); echo pids $(cat /sys/fs/cgroup/pids.max);
             (for i in $(seq 40); do sleep 5 & done) 2>&1 | tail -n 1",
        )
        .run();
    assert_eq!(seen.value("files"), "100 200");
    assert_eq!(seen.value("core"), "0");
    assert_eq!(seen.value("nproc"), "unlimited");
    assert_eq!(seen.value("score"), "500");
    assert_eq!(seen.value("pids"), "20");
    assert!(seen.text().contains("can't fork"), "{}", seen.text());
}

#[test]
fn file_systems_and_sysctls_are_as_asked() {
    let seen = machine("busybox")
        .with([
            "--shm-size",
            "3m",
            "--tmpfs",
            "/scratch:size=2m,mode=1770,exec",
            "--tmpfs",
            "/data",
            "--read-only",
        ])
        .with(["--sysctl", "kernel.msgmax=7777", "--sysctl", "net.ipv4.ip_forward=1"])
        .shell(
            "df -k /dev/shm /scratch | awk '{ print $6, $2 }'; echo mode $(stat -c %a /scratch);
             grep ' /data ' /proc/mounts; cat /data/read; touch /scratch/x && echo written; touch /x;
             echo msgmax $(cat /proc/sys/kernel/msgmax); echo forward $(cat /proc/sys/net/ipv4/ip_forward)",
        )
        .run()
        .succeeds();
    assert_eq!((seen.value("/dev/shm"), seen.value("/scratch")), ("3072".into(), "2048".into()));
    assert_eq!(seen.value("mode"), "1770");
    assert_eq!((seen.value("msgmax"), seen.value("forward")), ("7777".into(), "1".into()));
    let text = seen.text();
    assert!(text.contains("written") && text.contains("noexec") && !text.contains("lower"), "{text}");
    assert!(seen.stderr.contains("Read-only file system"), "{}", seen.stderr);
}

#[test]
fn capabilities_are_all_or_those_that_are_left() {
    let bits = |words: &[&str]| {
        let seen = machine("busybox").with(words).command(["cat", "/proc/self/status"]).run().succeeds();
        let set = |name: &str| u64::from_str_radix(&seen.value(name), 16).unwrap();
        (set("CapEff"), set("CapPrm"), set("CapBnd"))
    };
    let (all, ..) = bits(&[]);
    assert!(all.count_ones() >= 38 && all & 1 == 1, "{all:x}");
    assert_eq!(bits(&["--cap-drop=SYS_ADMIN"]), (all & !(1 << 21), all & !(1 << 21), all & !(1 << 21)));
    assert_eq!(bits(&["--cap-drop=ALL", "--cap-add=cap_chown"]), (1, 1, 1));
    assert_eq!(bits(&["--cap-drop=ALL", "--privileged"]), (all, all, all));
    let running = Detached::shell(&["--cap-drop=ALL", "--cap-add=CHOWN"], "busybox", "exec sleep 100000");
    assert_eq!(running.exec("cat /proc/self/status").value("CapEff"), "0000000000000001");
    let privileged = running.vmrun(&["exec", "--privileged"], &["cat", "/proc/self/status"]).run().succeeds();
    assert_eq!(u64::from_str_radix(&privileged.value("CapEff"), 16), Ok(all));
    // What an ordinary user never has is not its to get back.
    assert_eq!(bits(&["--cap-drop=ALL", "-u", "alice"]), (0, 0, 0));
    machine("busybox")
        .with(["--cap-drop=SYS_ADMIN"])
        .shell("mount -t tmpfs x /tmp")
        .run()
        .exits_with(1)
        .complains(&["permission denied"]);
}

#[test]
fn groups_are_added() {
    let seen = machine("busybox")
        .with(["-u", "alice", "--group-add", "root", "--group-add", "4711"])
        .shell("echo groups $(id -G)")
        .run()
        .succeeds();
    let groups = seen.value("groups");
    assert!(
        ["0", "4711", "1000", "50"].iter().all(|gid| groups.split(' ').any(|other| other == *gid)),
        "{groups}"
    );
    machine("busybox")
        .with(["--group-add", "nobody-here"])
        .command(["true"])
        .run()
        .is_refused(&["nobody-here"]);
}

/// The quota is the host's: half of a processor makes a computation take twice as long.
#[test]
fn a_fraction_of_a_processor_is_that() {
    let running =
        machine("busybox").with(["--cpus", "0.5"]).shell("echo cpus $(nproc); while :; do :; done").start();
    let mut running = running;
    running.says("cpus 1");
    let cgroups: Vec<_> = fs::read_dir("/sys/fs/cgroup")
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("vmrun-"))
        .collect();
    let throttled = |path: &std::path::PathBuf| {
        let quota = fs::read_to_string(path.join("cpu.max")).unwrap();
        let stat = fs::read_to_string(path.join("cpu.stat")).unwrap();
        quota.trim() == "50000 100000" && !stat.lines().any(|line| line == "nr_throttled 0")
    };
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(cgroups.iter().any(throttled), "{cgroups:?}");
}

#[test]
fn what_cannot_be_is_refused_in_a_line() {
    for (words, complaint) in [
        (["--ulimit", "files=1"], "no limit 'files'"),
        (["--ulimit", "nofile=2:1"], "--ulimit nofile=2:1"),
        (["--cap-drop", "FLY"], "--cap-drop FLY"),
        (["--sysctl", "nonsense"], "--sysctl nonsense"),
        (["--sysctl", "no.such=1"], "no.such"),
        (["--tmpfs", "relative"], "--tmpfs relative"),
        (["--oom-score-adj", "2000"], "--oom-score-adj 2000"),
        (["--shm-size", "0"], "--shm-size 0"),
    ] {
        let refused = machine("busybox").with(words).command(["true"]).run().is_refused(&[complaint]);
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    }
}
