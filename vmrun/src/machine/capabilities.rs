//! Capabilities, by their names.

use anyhow::{Result, bail};

/// At their numbers, as linux/capability.h has them.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Those that are taken away. Without a word, none is: what one adds matters only where ALL are dropped,
/// or where it is dropped too, for adding wins, as in Docker.
pub fn dropped(add: &[String], drop: &[String]) -> Result<u64> {
    Ok(set("--cap-drop", drop)? & !set("--cap-add", add)?)
}

fn set(flag: &str, names: &[String]) -> Result<u64> {
    names.iter().try_fold(0, |set, name| Ok(set | bits(flag, name)?))
}

fn bits(flag: &str, name: &str) -> Result<u64> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if short == "ALL" {
        // Also those that are yet to come.
        return Ok(u64::MAX);
    }
    match NAMES.iter().position(|known| *known == short) {
        Some(number) => Ok(1 << number),
        None => bail!("{flag} {name}: there is no such capability (see capabilities(7))"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(add: &[&str], drop: &[&str]) -> Result<u64> {
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        super::dropped(&strings(add), &strings(drop))
    }

    #[test]
    fn all_are_kept_unless_they_are_dropped() {
        assert_eq!(dropped(&["NET_ADMIN"], &[]).unwrap(), 0);
        assert_eq!(dropped(&[], &["cap_chown", "KILL"]).unwrap(), 1 | 1 << 5);
        assert_eq!(dropped(&["CAP_NET_ADMIN"], &["all"]).unwrap(), !(1 << 12));
        assert_eq!(dropped(&["ALL"], &["MKNOD"]).unwrap(), 0);
        assert!(dropped(&[], &["FLY"]).unwrap_err().to_string().starts_with("--cap-drop FLY: "));
        assert_eq!(NAMES.iter().position(|name| *name == "CHECKPOINT_RESTORE"), Some(40));
    }
}
