//! What `vmrun kernel` takes.

use std::path::PathBuf;

use clap::Subcommand;

use super::Format;

#[derive(Debug, Subcommand)]
pub enum KernelCommand {
    /// Add a kernel: a linux-image .deb, a vmlinux, a bzImage, or a directory with boot/ and
    /// lib/modules/ (`/` is the host's own)
    Add {
        /// One source, or several that make up one kernel (Ubuntu's linux-image and linux-modules)
        #[arg(required = true, value_name = "SOURCE")]
        sources: Vec<PathBuf>,
        /// The kernel's name [default: its version]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// List kernels
    Ls {
        /// Print names alone
        #[arg(short, long)]
        quiet: bool,
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Remove kernels
    Rm {
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Say what a kernel is and what it can do for vmrun
    Inspect {
        name: String,
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Choose the kernel that runs when none is named
    Default { name: String },
}
