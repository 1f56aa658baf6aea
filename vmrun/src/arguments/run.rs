//! What `vmrun run` and `vmrun emulate` take.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::PullPolicy;
use crate::size;

#[derive(Debug, Args)]
pub struct RunArguments {
    /// Keep standard input open and forward it
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Set an environment variable; without a value, pass the host's
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Read environment variables from a file, one NAME=VALUE a line
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Working directory of the process
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User of the process: name or number, with an optional :GROUP
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Pull the image before it runs: always (so that a newer one is noticed), or when it is not here
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = PullPolicy::Missing)]
    pub pull: PullPolicy,
    /// It has been pulled, by the host that runs this one
    #[arg(long, hide = true)]
    pub pulled: bool,
    /// Memory of the machine, such as 512m or 2g
    #[arg(short, long, value_name = "SIZE", default_value = "512m", value_parser = size::parse)]
    pub memory: u64,
    /// Processors of the machine
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub cpus: u8,
    /// Replace the image's entrypoint
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// The machine's host name [default: its ID]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Kernel to run on [default: the default kernel, see `vmrun kernel ls`]
    #[arg(long, value_name = "NAME")]
    pub kernel: Option<String>,
    /// Add an argument to the kernel's command line
    #[arg(long, value_name = "ARG")]
    pub kernel_arg: Vec<String>,
    /// Start the kernel as its distribution does, more slowly: no self-test or probe is skipped, and
    /// modules keep their signatures
    #[arg(long)]
    pub stock_boot: bool,
    /// How the image's disk is attached [default: pmem where the kernel can DAX, else blk]
    #[arg(long, value_name = "DEVICE")]
    pub rootfs_device: Option<RootfsChoice>,
    /// Give the machine a copy of its image in memory of its own: shared pages let tenants watch one
    /// another
    #[arg(long)]
    pub no_share: bool,
    /// Show the kernel's messages on standard error while it runs
    #[arg(long)]
    pub console: bool,
    /// Remove the machine's record when it ends
    #[arg(long)]
    pub rm: bool,
    /// Mount the root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// Show where the time of the start went
    #[arg(long)]
    pub timing: bool,
    /// Say what is being done
    #[arg(long)]
    pub verbose: bool,
    /// The image, by name or ID
    pub image: String,
    /// The command and its arguments [default: the image's]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RootfsChoice {
    Pmem,
    Blk,
}
