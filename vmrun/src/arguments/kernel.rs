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
    /// Build a small kernel of vmrun's own from its source, and add it
    ///
    /// Everything a machine needs is built in, and what software in containers asks for. A kernel that has
    /// been built is kept; the same source and configuration are built once.
    Build {
        /// A source package of Debian's, its file, a tar archive as kernel.org has them, or a tree
        #[arg(long, value_name = "SOURCE", default_value = "linux-source-6.12")]
        source: String,
        /// A file of options (CONFIG_NAME=y) that go over vmrun's own; may be given several times
        #[arg(long, value_name = "FILE")]
        config: Vec<PathBuf>,
        /// The kernel's name [default: its version]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// How many compilers run at once [default: one for each processor]
        #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
        jobs: Option<u16>,
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
