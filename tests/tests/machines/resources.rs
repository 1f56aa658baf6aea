//! Processors and memory: what the guest is given, and what its monitor takes besides.

use std::fs;

use tests::{machine, monitor_of};

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

/// Everything the monitor has in memory that is neither the guest's memory nor its image.
#[test]
fn a_monitor_takes_little_memory_besides_its_guests() {
    let mut running =
        machine("busybox").with(["-m", "256m", "--cpus", "2"]).shell("echo up; sleep 1000").start();
    running.says("up");
    let monitor = monitor_of(&running).expect("vmrun has a monitor");
    let smaps = fs::read_to_string(format!("/proc/{monitor}/smaps")).unwrap();
    let (mut own, mut guest, mut of_guest) = (0, 0, false);
    for line in smaps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some((from, to)) = words.first().and_then(|range| range.split_once('-'))
            && let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16))
        {
            let image =
                words.last().is_some_and(|path| path.contains("/layers/") || path.contains("/images/"));
            of_guest = image || to - from >= 32 << 20;
        } else if words.first() == Some(&"Rss:") {
            let resident: u64 = words[1].parse().unwrap();
            if of_guest { guest += resident } else { own += resident }
        }
    }
    assert!(guest > 16 * MIB, "the guest's memory was found: {guest} kB\n{smaps}");
    println!("monitor: {own} kB of its own");
    assert!(own <= 5 * MIB, "{own} kB of its own\n{smaps}");
}
