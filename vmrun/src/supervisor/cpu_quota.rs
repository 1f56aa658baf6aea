//! A fraction of the host's processors: by a cgroup for the supervisor and its monitor.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const CGROUPS: &str = "/sys/fs/cgroup";

/// In microseconds: what Docker takes.
const PERIOD: u64 = 100_000;

/// A cgroup that this process is in for as long as this lives.
#[derive(Debug)]
pub struct CpuQuota {
    cgroup: PathBuf,
    before: PathBuf,
}

impl CpuQuota {
    /// Lets this process and its children take `thousandths` of a processor.
    pub fn impose(machine: &str, thousandths: u32) -> Result<CpuQuota> {
        let before = own_cgroup()?;
        let name = format!("vmrun-{machine}");
        let made = make(&before, &name).or_else(|| {
            // The root of all can have processes and controllers both: as in an emulated host.
            let root = Path::new(CGROUPS).join("cgroup.subtree_control");
            fs::write(root, "+cpu").ok().and_then(|()| make(&before, &name))
        });
        let cgroup = made.context("no cgroup with a CPU controller is delegated to this user")?;
        let quota = CpuQuota { cgroup, before };
        let share = u64::from(thousandths) * PERIOD / 1000;
        fs::write(quota.cgroup.join("cpu.max"), format!("{share} {PERIOD}"))
            .and_then(|()| enter(&quota.cgroup))
            .with_context(|| format!("cannot use the cgroup {}", quota.cgroup.display()))?;
        Ok(quota)
    }
}

impl Drop for CpuQuota {
    fn drop(&mut self) {
        // An empty cgroup that stays costs next to nothing.
        let _ = enter(&self.before).and_then(|()| fs::remove_dir(&self.cgroup));
    }
}

fn own_cgroup() -> Result<PathBuf> {
    let lines = fs::read_to_string("/proc/self/cgroup").context("the kernel has no cgroups")?;
    match lines.lines().find_map(|line| line.strip_prefix("0::/")) {
        Some(path) => Ok(Path::new(CGROUPS).join(path)),
        None => bail!("the host has no cgroups of version 2"),
    }
}

fn enter(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())
}

/// Makes a cgroup with a CPU controller: in `own`, or in one that it is in, where the controller is
/// delegated and this user may write.
fn make(own: &Path, name: &str) -> Option<PathBuf> {
    own.ancestors().take_while(|parent| parent.starts_with(CGROUPS)).find_map(|parent| {
        let enabled = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
        if !enabled.split_whitespace().any(|controller| controller == "cpu") {
            return None;
        }
        let cgroup = parent.join(name);
        match fs::create_dir(&cgroup) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => None,
            _ => Some(cgroup),
        }
    })
}
