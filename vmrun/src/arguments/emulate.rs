//! What `vmrun emulate` takes.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Format;
use crate::size;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(override_usage = "vmrun emulate [OPTIONS] -- COMMAND...\n       vmrun emulate status|stop")]
pub struct EmulateArguments {
    #[command(subcommand)]
    pub host: Option<EmulatedHostCommand>,
    /// Memory of the emulated machine
    #[arg(short, long, value_name = "SIZE", default_value = "2g", value_parser = size::parse)]
    pub memory: u64,
    /// Processors of the emulated machine; they take turns on one of this host's
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub cpus: u8,
    /// Let its clock count instructions, so that timings repeat (one processor, slower)
    #[arg(long)]
    pub icount: bool,
    /// Kernel it boots; needs 9p and KVM [default: the default kernel if it has them, else the first that has]
    #[arg(long, value_name = "NAME")]
    pub kernel: Option<String>,
    /// Keep what is written to the state directory in memory until it is synced, as a disk would: for tests
    #[arg(long, hide = true)]
    pub write_back: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// The emulated host that machines run in where this host has no hardware virtualization.
#[derive(Debug, Subcommand)]
pub enum EmulatedHostCommand {
    /// Show the emulated host that machines run in
    Status {
        /// How it is shown
        #[arg(long, value_enum, value_name = "FORMAT", default_value = "table")]
        format: Format,
    },
    /// End the emulated host that machines run in
    Stop {
        /// End the machines in it, too
        #[arg(short, long)]
        force: bool,
    },
    /// Connect standard input and output to a Unix socket in the emulated host
    #[command(hide = true)]
    Connect { path: PathBuf },
    /// Start a vmrun in the emulated host, with standard input and output or detached
    #[command(hide = true)]
    Spawn {
        #[arg(long)]
        detached: bool,
        /// Memory that it needs
        #[arg(long, value_parser = size::parse, default_value = "0")]
        memory: u64,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}
