//! What `vmrun run` and `create` take.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};

use super::{PullPolicy, ResourceArguments};
use crate::client::DetachKeys;
use crate::machine::restart::RestartPolicy;
use crate::machine::{ChannelChoice, FormatChoice, Processors, Transport};
use crate::size;

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct RunArguments {
    /// Run the machine in the background and print its ID
    #[arg(short, long, conflicts_with = "timing")]
    pub detach: bool,
    /// The keys that leave a machine with a terminal running
    #[arg(long, value_name = "KEYS", default_value_t)]
    pub detach_keys: DetachKeys,
    /// Pass signals that vmrun gets to the process
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true")]
    pub sig_proxy: bool,
    /// Show where the time of the start went
    #[arg(long)]
    pub timing: bool,
    /// Say what is being done
    #[arg(long)]
    pub verbose: bool,
    #[command(flatten)]
    pub machine: MachineArguments,
}

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct CreateArguments {
    #[command(flatten)]
    pub machine: MachineArguments,
}

/// What a machine is to be.
#[derive(Debug, Args)]
pub struct MachineArguments {
    /// Show this help
    #[arg(long, action = ArgAction::Help)]
    pub help: Option<bool>,
    /// The machine's name [default: a random one]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Write the machine's ID to a file, which must not be there
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<PathBuf>,
    /// Set a label of the machine
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub label: Vec<String>,
    /// Read labels from a file, one a line
    #[arg(long, value_name = "FILE")]
    pub label_file: Vec<PathBuf>,
    /// Start the machine again when it has ended: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY", default_value_t)]
    pub restart: RestartPolicy,
    /// The signal that asks the process to end [default: the image's, else SIGTERM]
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// How long the process may take to end until it is killed, in seconds [default: 10; 60 for an init]
    #[arg(long, value_name = "SECONDS")]
    pub stop_timeout: Option<u64>,
    /// Size of the machine's writable disk; it takes no more space than is written
    #[arg(long, value_name = "SIZE", default_value = "10g", value_parser = size::parse)]
    pub disk_size: u64,
    /// Whether what the guest syncs is synced: for the proof that it matters
    #[arg(long, hide = true, default_value_t = true, action = ArgAction::Set)]
    pub disk_flush: bool,
    /// Keep what the machine writes in its memory, without a disk
    #[arg(long)]
    pub tmpfs_root: bool,
    /// Where the process's output is kept for `vmrun logs`: file or none
    #[arg(long, value_name = "DRIVER", value_enum, default_value_t = LogDriver::File)]
    pub log_driver: LogDriver,
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
    /// Pull the image, and a kernel debian:…, before it runs: always (so that a newer one is noticed), only when it
    /// is not here, or never
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = PullPolicy::Missing)]
    pub pull: PullPolicy,
    /// Memory of the machine, such as 512m or 2g
    #[arg(short, long, value_name = "SIZE", default_value = "512m", value_parser = size::parse)]
    pub memory: u64,
    /// Processors of the machine; with a fraction, it may not use them up
    #[arg(long, value_name = "N", default_value = "1")]
    pub cpus: Processors,
    /// Replace the image's entrypoint
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// The machine's host name [default: its ID]
    #[arg(short = 'h', long, value_name = "NAME")]
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
    /// File system of the image's disk [default: erofs where the kernel has it, else ext4]
    #[arg(long, value_name = "FORMAT")]
    pub rootfs_format: Option<FormatChoice>,
    /// How the guest finds its devices: virtio-mmio told by ACPI or by the command line, or virtio-pci
    /// [default: the first that the kernel can]
    #[arg(long, value_name = "TRANSPORT")]
    pub transport: Option<Transport>,
    /// How the host reaches the guest: vsock, or ports of a virtio-console [default: vsock where the
    /// kernel has it, else console]
    #[arg(long, value_name = "CHANNEL")]
    pub channel: Option<ChannelChoice>,
    /// Leave the kernel's modules out of the guest: no /lib/modules, and none is loaded on demand
    #[arg(long)]
    pub no_modules: bool,
    /// Give the machine a copy of its image in memory of its own: shared pages let tenants watch one
    /// another
    #[arg(long)]
    pub no_share: bool,
    /// Show the kernel's messages on standard error while it runs
    #[arg(long)]
    pub console: bool,
    /// Remove the machine, with all that it wrote, when it ends
    #[arg(long)]
    pub rm: bool,
    /// Mount the root file system read-only
    #[arg(long)]
    pub read_only: bool,
    #[command(flatten)]
    pub resources: ResourceArguments,
    /// The image, by name or ID
    pub image: String,
    /// The command and its arguments [default: the image's]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Who is a machine's init.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum InitChoice {
    None,
    Image,
}

/// Where output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogDriver {
    File,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootfsChoice {
    Pmem,
    Blk,
}
