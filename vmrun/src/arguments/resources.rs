//! What a machine has, and what its process may do.

use clap::Args;

use super::InitChoice;
use crate::size;

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Resources and rights")]
pub struct ResourceArguments {
    /// Limit a resource of the process, such as nofile=1024:2048 (soft and hard; -1 is no limit)
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub ulimit: Vec<String>,
    /// Set a sysctl of the machine
    #[arg(long, value_name = "NAME=VALUE")]
    pub sysctl: Vec<String>,
    /// Size of /dev/shm [default: half of the memory]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub shm_size: Option<u64>,
    /// Mount a file system in memory, with options such as size=64m,mode=1770
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    pub tmpfs: Vec<String>,
    /// Limit the number of processes and threads; -1 is no limit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// How readily the process is killed when memory runs out, -1000 (never) to 1000
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub oom_score_adj: Option<i32>,
    /// Add a group, by name or number, to those of the user
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,
    /// Keep a capability that --cap-drop=ALL would take
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<String>,
    /// Take a capability away, or ALL of them; without this, the process has all
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_drop: Vec<String>,
    /// All capabilities, whatever is dropped: the kernel is the machine's own
    #[arg(long)]
    pub privileged: bool,
    /// Who is the machine's init: none (the command is the first process) or image (the command is, as
    /// the whole system's PID 1) [default: image for /sbin/init and systemd, else none]
    #[arg(long, value_enum, value_name = "WHO")]
    pub init: Option<InitChoice>,
}
