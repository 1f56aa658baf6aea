//! How much memory an emulated host has, and has left.

use std::env;
use std::fs;

use anyhow::{Result, bail};

use crate::size;

/// What the emulated host needs beside the machines in it, in bytes.
const OWN: u64 = 1 << 30;

/// What it has where nothing else is said, at least and at most. QEMU takes what is used, not this.
const LEAST: u64 = 2 << 30;
const MOST: u64 = 8 << 30;

/// The memory of a new emulated host, whose first machine has `machine` bytes: half of what this host
/// has available, within bounds, or what VMRUN_EMULATED_MEMORY says.
pub fn of_new_host(machine: u64) -> Result<u64> {
    let needed = machine.saturating_add(OWN);
    if let Some(all) = total_with_swap().filter(|all| *all < needed) {
        let [machine, all] = [machine, all].map(shown);
        bail!(
            "a machine of {machine} does not fit on this host, which has {all}: give it less with --memory"
        );
    }
    if let Some(text) = env::var_os("VMRUN_EMULATED_MEMORY").filter(|text| !text.is_empty()) {
        let text = text.to_string_lossy();
        let Ok(memory) = size::parse(&text) else {
            bail!("VMRUN_EMULATED_MEMORY is ‘{text}’, which is no size such as 4g")
        };
        return Ok(memory);
    }
    Ok((available().unwrap_or(0) / 2).clamp(LEAST, MOST).max(needed))
}

/// All of this host's memory, in bytes.
pub fn total() -> Option<u64> {
    meminfo("MemTotal:")
}

/// The most that Linux promises to a process unless told to promise anything.
fn total_with_swap() -> Option<u64> {
    Some(total()?.saturating_add(meminfo("SwapTotal:").unwrap_or(0)))
}

/// What this host could give to new processes, in bytes.
pub fn available() -> Option<u64> {
    meminfo("MemAvailable:")
}

/// As people say it.
pub fn shown(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn meminfo(name: &str) -> Option<u64> {
    number(&fs::read_to_string("/proc/meminfo").ok()?, name)
}

fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:       2048 kB\nMemAvailable:    1024 kB\n";
        assert_eq!(number(text, "MemAvailable:"), Some(1 << 20));
        assert_eq!(number(text, "HugePages:"), None);
        assert!(available().is_some_and(|bytes| bytes > 0 && bytes <= total().unwrap()));
    }

    #[test]
    fn a_large_machine_gets_a_larger_host() {
        let all = total().unwrap();
        assert_eq!(of_new_host(all - OWN).unwrap(), all);
        let complaint = of_new_host(u64::MAX).unwrap_err().to_string();
        assert!(complaint.contains("--memory") && complaint.contains("MiB"), "{complaint}");
        let usual = of_new_host(512 << 20).unwrap();
        assert!((LEAST..=MOST).contains(&usual));
    }
}
