//! `--timing`: where the time of a start went, as a bar chart.

use guest_protocol::Stamp;

/// The widest bar, in characters.
const WIDTH: u64 = 40;

/// The moments of one start, in nanoseconds of CLOCK_MONOTONIC.
#[derive(Debug)]
pub struct Timing {
    begun: u64,
    /// How far the clock of the machine's host is ahead of ours.
    ahead: i64,
    started: Option<u64>,
    stamps: [Option<u64>; 6],
    first_output: Option<u64>,
    /// How the rootfs is attached, and why.
    rootfs: Option<String>,
}

impl Timing {
    pub fn new(begun: u64) -> Timing {
        Timing { begun, ahead: 0, started: None, stamps: [None; 6], first_output: None, rootfs: None }
    }

    pub fn rootfs(&mut self, rootfs: String) {
        self.rootfs = Some(rootfs);
    }

    /// The moments that follow, but for the first output, are of a clock that is so far ahead.
    pub fn clock_ahead(&mut self, ahead: i64) {
        self.ahead = ahead;
    }

    /// The monitor is about to run the guest's first instruction.
    pub fn started(&mut self, at: u64) {
        self.started = Some(at.wrapping_sub(self.ahead as u64));
    }

    /// The guest has come to `stamp`; the first time counts.
    pub fn stamp(&mut self, stamp: Stamp, at: u64) {
        self.stamps[stamp as usize].get_or_insert(at.wrapping_sub(self.ahead as u64));
    }

    /// The first byte of the process's output arrived; 0 when there was none.
    pub fn first_output(&mut self, at: u64) {
        self.first_output = (at > 0).then_some(at);
    }

    /// One line a phase: its name, its milliseconds, its share as a bar that begins where the
    /// phase before it ended; then the whole, and how the rootfs is attached.
    pub fn chart(&self) -> String {
        let ends = [
            ("prepare", self.started),
            ("kernel", self.stamps[Stamp::InitStarted as usize]),
            ("bootfs", self.stamps[Stamp::ModulesLoaded as usize]),
            ("rootfs", self.stamps[Stamp::RootfsReady as usize]),
            ("process", self.first_output.or(self.stamps[Stamp::ProcessStarted as usize])),
        ];
        let last = ends.iter().filter_map(|(_, end)| *end).max().unwrap_or(self.begun);
        let total = last.saturating_sub(self.begun).max(1);
        let column = |at: u64| (at.saturating_sub(self.begun) * WIDTH / total) as usize;
        let mut chart = String::new();
        let mut from = self.begun;
        for (name, end) in ends {
            let Some(end) = end else { continue };
            let (left, right) = (column(from), column(end).max(column(from)));
            let bar = if left == right { "▏".to_owned() } else { "█".repeat(right - left) };
            let milliseconds = end.saturating_sub(from) as f64 / 1e6;
            chart.push_str(&format!("{name:8} {milliseconds:9.1} ms  {}{bar}\n", " ".repeat(left)));
            from = end;
        }
        chart.push_str(&format!("{:8} {:9.1} ms\n", "total", total as f64 / 1e6));
        if let Some(rootfs) = &self.rootfs {
            chart.push_str(&format!("{:8} {rootfs}\n", "disk"));
        }
        chart
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_one_another() {
        let mut timing = Timing::new(1_000_000);
        timing.rootfs("pmem: mapped with DAX".into());
        timing.started(11_000_000);
        timing.stamp(Stamp::InitStarted, 61_000_000);
        timing.stamp(Stamp::InitStarted, 99_000_000);
        timing.stamp(Stamp::ModulesLoaded, 81_000_000);
        timing.stamp(Stamp::RootfsReady, 91_000_000);
        timing.first_output(101_000_000);
        let chart = timing.chart();
        let lines: Vec<&str> = chart.lines().collect();
        assert_eq!(lines[0], format!("prepare       10.0 ms  {}", "█".repeat(4)));
        assert_eq!(lines[1], format!("kernel        50.0 ms      {}", "█".repeat(20)));
        assert_eq!(lines[4], format!("process       10.0 ms  {}{}", " ".repeat(36), "█".repeat(4)));
        assert_eq!(lines[5], "total        100.0 ms");
        assert_eq!(lines[6], "disk     pmem: mapped with DAX");
    }
}
