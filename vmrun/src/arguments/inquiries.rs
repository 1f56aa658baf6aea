//! What the verbs that look into running machines take.

use clap::Args;

use super::Format;

#[derive(Debug, Args)]
pub struct TopArguments {
    /// The machine, by name or ID
    pub machine: String,
    /// `-ef`, the default, or `aux`, as ps(1) has them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PS OPTIONS")]
    pub options: Vec<String>,
}

#[derive(Debug, Args)]
pub struct StatsArguments {
    /// Show one moment, instead of every second anew
    #[arg(long)]
    pub no_stream: bool,
    /// Show machines that do not run, too
    #[arg(short, long)]
    pub all: bool,
    /// A table, or a JSON object for each machine, one a line
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Machines by name or ID [default: all that run]
    #[arg(value_name = "MACHINE")]
    pub machines: Vec<String>,
}
