//! What the guest uses, from the files of /proc.

use std::fs;

use guest_protocol::statistics::Statistics;

use crate::processes;

/// Clock ticks of /proc, in microseconds: they are hundredths of a second on every architecture's Linux.
pub const TICK: u64 = 10_000;

const SECTOR: u64 = 512;

/// What is used now.
pub fn now() -> Result<Statistics, String> {
    let read = |path: &str| {
        fs::read_to_string(path).map_err(|error| ["cannot read ", path, ": ", &error.to_string()].concat())
    };
    let (stat, memory, disks) = (read("/proc/stat")?, read("/proc/meminfo")?, read("/proc/diskstats"));
    let (disk_read, disk_written) = disks.as_deref().map_or((0, 0), transferred);
    let (memory_total, memory_used, memory_available) = memory_use(&memory);
    Ok(Statistics {
        uptime: uptime() * 1000,
        busy: busy(&stat),
        memory_total,
        memory_used,
        memory_available,
        pids: processes::count(),
        disk_read,
        disk_written,
    })
}

/// Milliseconds since boot.
pub fn uptime() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}

/// Microseconds that all processors together have not been idle.
fn busy(stat: &str) -> u64 {
    let Some(line) = stat.lines().find_map(|line| line.strip_prefix("cpu ")) else { return 0 };
    // user nice system idle iowait irq softirq steal; what guests of the guest take is in user's.
    let idle = 3..5;
    let times = line.split_ascii_whitespace().take(8).enumerate();
    let ticks = times.filter(|(at, _)| !idle.contains(at)).map(|(_, ticks)| ticks.parse().unwrap_or(0));
    ticks.fold(0u64, u64::saturating_add).saturating_mul(TICK)
}

/// All memory, what programs use of it, and what could be had, in bytes.
fn memory_use(meminfo: &str) -> (u64, u64, u64) {
    let field = |name: &str| {
        let value = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kilobytes = value.and_then(|value| value.trim().strip_suffix(" kB"));
        kilobytes.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(0).saturating_mul(1024)
    };
    let total = field("MemTotal");
    // The page cache is lent; what is in a tmpfs is kept.
    let lent = field("MemFree") + field("Buffers") + field("Cached") + field("SReclaimable");
    let used = total.saturating_sub(lent).saturating_add(field("Shmem")).min(total);
    (total, used, field("MemAvailable"))
}

/// Bytes read and written by the machine's disks (not by their partitions).
fn transferred(diskstats: &str) -> (u64, u64) {
    let mut sum = (0u64, 0u64);
    for line in diskstats.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, _, name, _, _, read, _, _, _, written, ..] = *fields else { continue };
        let is_disk = name.starts_with("pmem")
            || name.strip_prefix("vd").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_lowercase()));
        if is_disk {
            sum.0 = sum.0.saturating_add(read.parse().unwrap_or(0u64).saturating_mul(SECTOR));
            sum.1 = sum.1.saturating_add(written.parse().unwrap_or(0u64).saturating_mul(SECTOR));
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_busy() {
        assert_eq!(busy("cpu  1 2 3 1000 2000 4 5 6 7 8\ncpu0 9\n"), 21 * TICK);
        assert_eq!(busy("intr 1\n"), 0);
    }

    #[test]
    fn a_page_cache_is_not_used_and_a_tmpfs_is() {
        let meminfo = "MemTotal: 1000 kB\nMemFree:  300 kB\nMemAvailable:  700 kB\nBuffers: 50 kB\n\
            Cached: 400 kB\nShmem: 100 kB\nSReclaimable: 50 kB\n";
        assert_eq!(memory_use(meminfo), (1000 * 1024, 300 * 1024, 700 * 1024));
    }

    #[test]
    fn partitions_are_not_counted_twice() {
        let disks = " 254 0 vda 10 0 8 1 5 0 16 2 0 0 0\n 254 1 vda1 10 0 8 1 5 0 16 2 0 0 0\n\
            7 0 loop0 1 0 99 0 0 0 99 0\n 259 0 pmem0 1 0 2 0 0 0 0 0\n";
        assert_eq!(transferred(disks), (10 * 512, 16 * 512));
    }
}
