//! The machine's settings of its kernel: sysctls, and the limit of its processes.

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, write};

use crate::cgroup::{CGROUPS, Cgroup};
use crate::fault::{Fault, OrFault};

/// Sets what sysctl(8) calls `name`.
pub fn set_sysctl(name: &str, value: &str) -> Result<(), Fault> {
    let path = ["/proc/sys/", &sysctl_path(name)].concat();
    put(&path, value).or_fault("cannot set the sysctl", name)
}

/// Protects links in directories that everybody may write to, as the user lands of all distributions do.
pub fn protect_links() {
    for name in ["fs.protected_symlinks", "fs.protected_hardlinks"] {
        let _ = set_sysctl(name, "1");
    }
}

/// Dots and slashes change places where a slash comes first or there is none, as sysctl(8) has it.
fn sysctl_path(name: &str) -> String {
    let swapped = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'.');
    let swap = |character| match character {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    if swapped { name.chars().map(swap).collect() } else { name.into() }
}

/// Lets the machine's cgroup have at most `limit` processes and threads.
pub fn limit_processes(cgroup: Option<&Cgroup>, limit: u64) -> Result<(), Fault> {
    let limited = match cgroup {
        Some(cgroup) => put(&[CGROUPS, "/cgroup.subtree_control"].concat(), "+pids")
            .and_then(|()| cgroup.set("pids.max", &limit.to_string())),
        None => Err(Errno::NOENT),
    };
    limited.or_fault(
        "cannot limit",
        "the number of processes, for which a kernel needs cgroups and their pids controller",
    )
}

fn put(path: &str, value: &str) -> Result<(), Errno> {
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write(file, value.as_bytes()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths() {
        assert_eq!(sysctl_path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(sysctl_path("net.ipv4.conf.eth0/1.forwarding"), "net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(sysctl_path("net/ipv4/conf/eth0.1/forwarding"), "net/ipv4/conf/eth0.1/forwarding");
    }
}
