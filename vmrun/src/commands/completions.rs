//! `vmrun completions` and `vmrun man`: what a distribution's package installs beside the program.

use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::arguments::Arguments;

pub fn completions(shell: clap_complete::Shell) -> Result<u8> {
    clap_complete::generate(shell, &mut Arguments::command(), "vmrun", &mut io::stdout());
    Ok(0)
}

pub fn manual(directory: &Path) -> Result<u8> {
    clap_mangen::generate_to(Arguments::command(), directory)
        .with_context(|| format!("cannot write manual pages to {}", directory.display()))?;
    Ok(0)
}
