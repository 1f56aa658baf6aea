//! What a machine has and its process may do: read from the command line, told to the guest.

use anyhow::{Result, bail};
use guest_protocol::{Limit, Machine, Process, Tmpfs};
use serde::{Deserialize, Serialize};

use super::capabilities;
use crate::arguments::ResourceArguments;

/// As `machine.json` keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    pub limits: Vec<Limit>,
    pub sysctls: Vec<(String, String)>,
    /// In bytes.
    pub shm_size: Option<u64>,
    pub tmpfs: Vec<Tmpfs>,
    pub pids_limit: Option<u64>,
    pub oom_score_adj: Option<i16>,
    pub groups: Vec<String>,
    /// Each as the bit of its number.
    pub dropped_capabilities: u64,
    /// Thousandths of a processor that the machine may take, where that is less than its processors.
    pub cpu_quota: Option<u32>,
}

/// Names of setrlimit(2)'s resources, at their numbers.
const LIMITS: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

impl Resources {
    pub fn parse(arguments: &ResourceArguments, cpu_quota: Option<u32>) -> Result<Resources> {
        Ok(Resources {
            limits: limits(&arguments.ulimit)?,
            sysctls: arguments.sysctl.iter().map(|text| sysctl(text)).collect::<Result<_>>()?,
            shm_size: arguments.shm_size.map(shm_size).transpose()?,
            tmpfs: arguments.tmpfs.iter().map(|text| tmpfs(text)).collect::<Result<_>>()?,
            pids_limit: pids_limit(arguments.pids_limit)?,
            oom_score_adj: arguments.oom_score_adj.map(oom_score_adj).transpose()?,
            groups: arguments.group_add.iter().map(|group| self::group(group)).collect::<Result<_>>()?,
            dropped_capabilities: match arguments.privileged {
                true => 0,
                false => capabilities::dropped(&arguments.cap_add, &arguments.cap_drop)?,
            },
            cpu_quota,
        })
    }

    /// Adds what is about the process.
    pub fn bind_process(&self, process: Process) -> Process {
        Process {
            groups: self.groups.clone(),
            limits: self.limits.clone(),
            dropped_capabilities: self.dropped_capabilities,
            oom_score_adj: self.oom_score_adj,
            ..process
        }
    }

    /// Adds what is about the machine.
    pub fn bind_machine(&self, machine: Machine) -> Machine {
        Machine {
            shm_size: self.shm_size,
            tmpfs: self.tmpfs.clone(),
            sysctls: self.sysctls.clone(),
            pids_limit: self.pids_limit,
            ..machine
        }
    }
}

/// The last one of a name counts, as in Docker.
fn limits(texts: &[String]) -> Result<Vec<Limit>> {
    let mut limits: Vec<Limit> = Vec::new();
    for text in texts {
        let limit = limit(text)?;
        limits.retain(|other| other.resource != limit.resource);
        limits.push(limit);
    }
    Ok(limits)
}

fn limit(text: &str) -> Result<Limit> {
    let parse = |number: &str| match number.parse::<i64>() {
        Ok(-1) => Some(None),
        Ok(number) => u64::try_from(number).ok().map(Some),
        Err(_) => None,
    };
    let Some((name, values)) = text.split_once('=') else {
        bail!("--ulimit {text}: write NAME=SOFT[:HARD], such as nofile=1024:2048");
    };
    let Some(resource) = LIMITS.iter().position(|known| *known == name) else {
        bail!("--ulimit {text}: there is no limit '{name}', only {}", LIMITS.join(", "));
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (Some(soft), Some(hard)) = (parse(soft), parse(hard)) else {
        bail!("--ulimit {text}: a limit is a number, or -1 for none");
    };
    if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
        bail!("--ulimit {text}: the soft limit must not be above the hard one");
    }
    Ok(Limit { resource: resource as u8, soft, hard })
}

fn sysctl(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) if is_sysctl(name) && !value.contains('\0') => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => bail!("--sysctl {text}: write NAME=VALUE, such as net.ipv4.ip_forward=1"),
    }
}

/// Whether it stays below /proc/sys.
fn is_sysctl(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
    name.split(['.', '/']).all(is_part)
}

fn shm_size(bytes: u64) -> Result<u64> {
    if bytes == 0 {
        bail!("--shm-size 0: /dev/shm must have some bytes");
    }
    Ok(bytes)
}

fn tmpfs(text: &str) -> Result<Tmpfs> {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    if !path.starts_with('/') || path.trim_matches('/').is_empty() || path.contains('\0') {
        bail!("--tmpfs {text}: write an absolute path, other than /, and after a colon its options");
    }
    if let Some(bad) = options.split(',').find(|option| !option.is_empty() && !is_tmpfs_option(option)) {
        bail!("--tmpfs {text}: '{bad}' is no option of a tmpfs");
    }
    Ok(Tmpfs { path: path.to_owned(), options: options.to_owned() })
}

fn is_tmpfs_option(option: &str) -> bool {
    const FLAGS: [&str; 17] = [
        "ro",
        "rw",
        "nosuid",
        "suid",
        "nodev",
        "dev",
        "noexec",
        "exec",
        "sync",
        "async",
        "noatime",
        "atime",
        "nodiratime",
        "diratime",
        "relatime",
        "norelatime",
        "strictatime",
    ];
    const VALUES: [&str; 7] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "huge"];
    match option.split_once('=') {
        Some((name, value)) => {
            VALUES.contains(&name) && !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic())
        }
        None => FLAGS.contains(&option) || option == "defaults",
    }
}

/// Docker's 0 and -1 are both no limit.
fn pids_limit(limit: Option<i64>) -> Result<Option<u64>> {
    match limit {
        None | Some(0 | -1) => Ok(None),
        Some(limit) => match u64::try_from(limit) {
            Ok(limit) => Ok(Some(limit)),
            Err(_) => bail!("--pids-limit {limit}: a limit is a number above 0, or -1 for none"),
        },
    }
}

fn oom_score_adj(score: i32) -> Result<i16> {
    match i16::try_from(score) {
        Ok(score @ -1000..=1000) => Ok(score),
        _ => bail!("--oom-score-adj {score}: it is -1000 to 1000"),
    }
}

fn group(group: &str) -> Result<String> {
    if group.is_empty() || group.contains([':', '\0', '\n']) {
        bail!("--group-add '{}': it is a group's name or number", group.escape_debug());
    }
    Ok(group.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn limits_are_read_as_docker_reads_them() {
        let limit = |soft, hard| Limit { resource: 7, soft, hard };
        assert_eq!(super::limit("nofile=1024:2048").unwrap(), limit(Some(1024), Some(2048)));
        assert_eq!(super::limit("nofile=64").unwrap(), limit(Some(64), Some(64)));
        assert_eq!(super::limit("nofile=64:-1").unwrap(), limit(Some(64), None));
        assert_eq!(super::limit("core=-1").unwrap(), Limit { resource: 4, soft: None, hard: None });
        let two = limits(&["nofile=1".into(), "nofile=2".into()]).unwrap();
        assert_eq!(two, [limit(Some(2), Some(2))]);
        assert!(bad(super::limit("files=1")).contains("no limit 'files'"));
        for text in ["nofile", "nofile=", "nofile=a", "nofile=1:", "nofile=-2", "nofile=2:1", "nofile=-1:5"] {
            assert!(bad(super::limit(text)).starts_with(&format!("--ulimit {text}: ")), "{text}");
        }
    }

    #[test]
    fn a_sysctl_stays_where_sysctls_are() {
        assert_eq!(sysctl("kernel.a=b=c").unwrap(), ("kernel.a".into(), "b=c".into()));
        for text in ["a", "=1", "..=1", "a..b=1", "/a=1", "a b=1", "kernel./etc/x=1"] {
            assert!(sysctl(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_tmpfs_has_a_path_and_options_of_its_own() {
        let plain = Tmpfs { path: "/run/x".into(), options: String::new() };
        assert_eq!(tmpfs("/run/x").unwrap(), plain);
        assert_eq!(tmpfs("/a:size=64m,mode=1770,exec").unwrap().options, "size=64m,mode=1770,exec");
        for text in ["", "a", "/", "//", "/a:bind", "/a:size", "/a:size=", "/a:lowerdir=/x"] {
            assert!(tmpfs(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_within_what_there_is() {
        assert_eq!(pids_limit(Some(-1)).unwrap(), None);
        assert_eq!(pids_limit(Some(7)).unwrap(), Some(7));
        assert!(pids_limit(Some(-2)).is_err());
        assert_eq!(oom_score_adj(-1000).unwrap(), -1000);
        assert!(oom_score_adj(1001).is_err() && oom_score_adj(70_000).is_err());
        assert!(group("a:b").is_err() && group("video").is_ok());
    }
}
