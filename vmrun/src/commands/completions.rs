//! `vmrun completions` and `vmrun man`: what a distribution's package installs beside the program.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Arg, Command, CommandFactory, ValueHint};
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::output::stdout;

/// What completes the names of kernels, which clap cannot know.
const IN_BASH: &str = include_str!("kernel_names.bash");
const IN_ZSH: &str = include_str!("kernel_names.zsh");
const IN_FISH: &str = include_str!("kernel_names.fish");

/// What stands in zsh's script where a kernel's name is wanted, and nowhere else: there is no other hint of this kind.
const HINT: ValueHint = ValueHint::EmailAddress;
const HINTED: &str = ":_email_addresses";

pub fn completions(shell: Shell) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut hinted(Arguments::command()), "vmrun", &mut script);
    let mut script = String::from_utf8(script).context("the completion script is no text")?;
    match shell {
        Shell::Bash => script.push_str(IN_BASH),
        // What is defined behind it comes too late: the script ends by completing.
        Shell::Zsh => {
            let (first, rest) = script.split_once('\n').unwrap_or_default();
            script = format!("{first}\n{IN_ZSH}{}", rest.replace(HINTED, ":_vmrun_kernel_names"));
        }
        Shell::Fish => script.push_str(IN_FISH),
        _ => {}
    }
    stdout().write_all(script.as_bytes())?;
    Ok(0)
}

/// Marks whatever takes the name of a kernel that is here.
fn hinted(command: Command) -> Command {
    let takes_kernel = |argument: &Arg| argument.get_long() == Some("kernel");
    let marked = |argument: Arg| if takes_kernel(&argument) { argument.value_hint(HINT) } else { argument };
    let about_kernels = |verb: Command| match verb.get_name() {
        "inspect" | "rm" | "default" => verb.mut_args(|argument| match argument.is_positional() {
            true => argument.value_hint(HINT),
            false => argument,
        }),
        _ => verb,
    };
    command.mut_subcommands(|verb| match verb.get_name() {
        "kernel" => verb.mut_subcommands(about_kernels),
        _ => verb.mut_args(marked).mut_subcommands(|verb| verb.mut_args(marked)),
    })
}

pub fn manual(directory: &Path) -> Result<u8> {
    clap_mangen::generate_to(Arguments::command(), directory)
        .with_context(|| format!("cannot write manual pages to {}", directory.display()))?;
    Ok(0)
}
