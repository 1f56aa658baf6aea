//! What `vmrun exec` takes.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::client::DetachKeys;

#[derive(Debug, Args)]
pub struct ExecArguments {
    /// Keep standard input open and forward it
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Leave the command to itself once it runs
    #[arg(short, long)]
    pub detach: bool,
    /// The keys that leave a command with a terminal running
    #[arg(long, value_name = "KEYS", default_value_t)]
    pub detach_keys: DetachKeys,
    /// Set an environment variable; without a value, pass the host's
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<OsString>,
    /// Read environment variables from a file, one NAME=VALUE a line
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Working directory of the command [default: the machine's]
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User of the command: name or number, with an optional :GROUP [default: the machine's]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Give the command all capabilities, even if the machine's process lacks some
    #[arg(long)]
    pub privileged: bool,
    /// The machine, by name or ID
    pub machine: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}
