//! `vmrun completions` and `vmrun man`: what a distribution's package installs beside the program.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::arguments::Arguments;
use crate::output::stdout;

/// What bash completes that clap cannot know.
const KERNEL_NAMES: &str = include_str!("kernel_names.bash");

pub fn completions(shell: clap_complete::Shell) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "vmrun", &mut script);
    if shell == clap_complete::Shell::Bash {
        script.extend(KERNEL_NAMES.as_bytes());
    }
    stdout().write_all(&script)?;
    Ok(0)
}

pub fn manual(directory: &Path) -> Result<u8> {
    clap_mangen::generate_to(Arguments::command(), directory)
        .with_context(|| format!("cannot write manual pages to {}", directory.display()))?;
    Ok(0)
}
