//! `vmrun emulate`: any command on an emulated machine that has KVM, and `vmrun run`'s way there
//! where the host has none.

use std::env;
use std::ffi::OsString;

use anyhow::{Context, Result};

use crate::arguments::{EmulateArguments, words_after_pull};
use crate::emulate::{self, EmulateOptions};
use crate::home::Home;
use crate::output::warn;

/// What the emulated machine needs beside the machine that runs in it, in bytes.
const OWN_MEMORY: u64 = 1 << 30;

pub fn emulate(home: &Home, arguments: EmulateArguments) -> Result<u8> {
    emulate::run(
        home,
        &EmulateOptions {
            memory: arguments.memory,
            cpus: if arguments.icount { 1 } else { arguments.cpus },
            icount: arguments.icount,
            kernel: arguments.kernel,
            command: arguments.command,
        },
    )
}

/// Runs this same command line again, on an emulated machine.
pub fn run_again(home: &Home, memory: u64) -> Result<u8> {
    warn(
        "vmrun: no hardware virtualization here: using an emulated machine, which is slow (see `vmrun doctor`)",
    );
    let own = env::current_exe().context("cannot find vmrun's own executable")?;
    let command: Vec<OsString> = [own.into_os_string()].into_iter().chain(words_after_pull()).collect();
    let memory = memory.saturating_add(OWN_MEMORY);
    emulate::run(home, &EmulateOptions { memory, cpus: 1, icount: false, kernel: None, command })
}
