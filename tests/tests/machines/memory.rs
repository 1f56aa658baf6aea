//! Memory that a guest has no use for any more goes back to its host.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use tests::{KERNEL, NEWER_KERNEL, machine, monitor_of};

const MIB: u64 = 1 << 10;

/// What a process has in memory, in kB.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// On a kernel that knows the queue of reports by its place behind the others, and on one that knows it by its number.
#[test]
fn memory_that_a_guest_has_freed_goes_back_to_the_host() {
    for kernel in [KERNEL, NEWER_KERNEL] {
        let mut running = machine("busybox")
            .with(["-m", "512m", "--tmpfs-root", "--kernel", kernel])
            .shell(
                "dd if=/dev/zero of=/tmp/file bs=1M count=200 2>/dev/null; echo used; sleep 3;\
                 rm /tmp/file; echo freed; sleep 1000",
            )
            .start();
        running.says("used");
        let monitor = monitor_of(&running).expect("vmrun has a monitor");
        let used = resident(monitor);
        assert!(used > 200 * MIB, "{used} kB");
        running.says("freed");
        let end = Instant::now() + Duration::from_secs(60);
        let mut left = used;
        while left + 150 * MIB > used && Instant::now() < end {
            thread::sleep(Duration::from_millis(200));
            left = resident(monitor);
        }
        println!("{kernel}: {used} kB used, {left} kB left");
        assert!(left + 150 * MIB <= used, "{kernel}: {used} kB used, {left} kB left");
    }
}
