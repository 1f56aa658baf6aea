//! The guest kernel's messages: written to the machine's record, and its last lines kept for the report of a panic.

use std::fs::File;
use std::io::Write;

/// How much of the end is kept in memory, in bytes.
const TAIL: usize = 64 << 10;

/// The longest log that is kept, in bytes: a guest can say anything.
const MAX_LOG: u64 = 16 << 20;

/// The longest complaint that is passed on, in characters.
const LONGEST_COMPLAINT: usize = 400;

/// Collects the bytes of a guest's serial port.
#[derive(Debug, Default)]
pub struct KernelLog {
    file: Option<File>,
    tail: Vec<u8>,
    written: u64,
}

impl KernelLog {
    /// Writes to `file`, if there is one.
    pub fn new(file: Option<File>) -> KernelLog {
        KernelLog { file, ..KernelLog::default() }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        // A full disk loses the log, not the machine.
        self.written += bytes.len() as u64;
        if let Some(file) = &mut self.file
            && (self.written > MAX_LOG || file.write_all(bytes).is_err())
        {
            self.file = None;
        }
        self.tail.extend_from_slice(bytes);
        if self.tail.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
    }

    /// The last `count` lines as text, a panic's own line and what led to it before its registers:
    /// when the kernel said why it panicked, the lines end there.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.tail);
        let lines: Vec<&str> =
            text.lines().map(|line| line.trim_end()).filter(|line| !line.is_empty()).collect();
        let end = lines
            .iter()
            .position(|line| line.contains("Kernel panic - not syncing"))
            .map_or(lines.len(), |position| (position + 1).max(count.min(lines.len())));
        lines[end.saturating_sub(count)..end].iter().map(|line| (*line).to_owned()).collect()
    }

    /// What guest-init says that the machine ends of.
    pub fn complaint(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.tail);
        let said = text.lines().rev().find_map(|line| line.split_once("vmrun: fatal: "))?.1.trim_end();
        Some(said.chars().take(LONGEST_COMPLAINT).collect())
    }

    /// Takes one record of the guest's /dev/kmsg, `priority,sequence,microseconds,flags;text`, and
    /// writes it as the kernel's console would.
    pub fn write_record(&mut self, record: &str) {
        let Some((prefix, text)) = record.split_once(';') else { return };
        let Some(Ok(time)) = prefix.split(',').nth(2).map(str::parse::<u64>) else { return };
        self.write(format!("[{:5}.{:06}] {text}\n", time / 1_000_000, time % 1_000_000).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_and_bounded() {
        let mut log = KernelLog::default();
        for number in 0..40_000 {
            log.write(format!("line {number}\r\n").as_bytes());
        }
        assert!(log.tail.len() <= 2 * TAIL);
        assert_eq!(log.last_lines(2), ["line 39998", "line 39999"]);
    }

    #[test]
    fn what_guest_init_complains_of_is_found() {
        let mut log = KernelLog::default();
        log.write(b"[    1.0] vmrun: a note\n[    6.6] Run /init as init process\n");
        assert_eq!(log.complaint(), None);
        let fatal = "vmrun: fatal: /dev/pmem0 has not appeared in 30 s\r\n";
        log.write(format!("[   37.8] {fatal}[   38.0] vmrun: a note\r\nreboot: Power down\r\n").as_bytes());
        assert_eq!(log.complaint().as_deref(), Some("/dev/pmem0 has not appeared in 30 s"));
        assert_eq!(KernelLog::default().complaint(), None);
    }

    #[test]
    fn records_look_as_on_a_console() {
        let mut log = KernelLog::default();
        log.write_record("6,1,12345678,-;Linux version 6.1");
        log.write_record(" SUBSYSTEM=cpu");
        assert_eq!(log.last_lines(9), ["[   12.345678] Linux version 6.1"]);
    }

    #[test]
    fn a_panic_is_shown_up_to_its_reason() {
        let mut log = KernelLog::default();
        log.write(b"a\nb\nKernel panic - not syncing: x\nCPU: 0\nCall Trace:\n");
        assert_eq!(log.last_lines(2), ["b", "Kernel panic - not syncing: x"]);
    }
}
