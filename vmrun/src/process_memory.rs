//! What a process takes of its host's memory.

use std::fs;

/// In bytes, each page that it shares counted in part.
pub fn proportional(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    pss.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_some() {
        assert!(proportional(std::process::id()).is_some_and(|bytes| bytes > 100_000));
        assert_eq!(proportional(u32::MAX), None);
    }
}
