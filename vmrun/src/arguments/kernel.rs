//! What `vmrun kernel` takes.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Subcommand;

use super::Format;

#[derive(Debug, Subcommand)]
pub enum KernelCommand {
    /// Add a kernel from packages (.deb, .rpm, .apk, .pkg.tar.zst), a vmlinux, a bzImage, a kernel's build
    /// directory, a directory with boot/ and lib/modules/ (`/` is the host's own), or an image that has them
    /// (image:NAME, oci:DIRECTORY, oci-archive:FILE, docker-archive:FILE)
    Add {
        /// One source, or several that make up one kernel (Fedora's kernel-core and kernel-modules-core)
        #[arg(required = true, value_name = "SOURCE")]
        sources: Vec<OsString>,
        /// Of several kernels in a directory, an archive or an image, take this one (6.1.0-56-amd64)
        #[arg(long, value_name = "RELEASE")]
        release: Option<String>,
        /// The kernel's name [default: its version]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Build a small kernel of vmrun's own from its source, and add it
    ///
    /// Everything a machine needs is built in, and what software in containers asks for. A kernel that has
    /// been built is kept; the same source and configuration are built once.
    Build {
        /// A source package of Debian's archive, such a package's file, a tar archive as kernel.org has them, or a tree
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
        #[command(flatten)]
        archive: ArchiveArguments,
    },
    /// Get a kernel from Debian's archive, and add it; nothing is installed on this host
    ///
    /// A version (debian:6.1), a suite (debian:trixie, debian:sid), an exact version (debian:6.12.94-1) or a release
    /// (debian:6.1.0-37-cloud-amd64), with -cloud, -generic or -rt after it. The archive's mirror and proxy are
    /// those of this host's apt. What comes is checked by the archive's signature. A kernel of that name is
    /// replaced if there is a newer one.
    Pull {
        /// What to get, such as debian:6.12, debian:trixie or debian:6.1-generic
        #[arg(value_name = "debian:KERNEL")]
        wanted: String,
        /// The kernel's flavour [default: cloud]
        #[arg(long)]
        flavour: Option<FlavourChoice>,
        /// The kernel's name [default: what was asked for]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Keep the packages in a directory, and take from there what has been fetched before
        #[arg(long, value_name = "DIRECTORY")]
        packages: Option<PathBuf>,
        /// Print the kernel's name alone
        #[arg(short, long)]
        quiet: bool,
        #[command(flatten)]
        archive: ArchiveArguments,
    },
    /// List the kernels of Debian's archive: those that its suites install, or those that match
    Search {
        /// Whose archive
        #[arg(value_name = "ARCHIVE")]
        archive_name: ArchiveName,
        /// Part of a version, release, flavour or suite, with * and ?
        pattern: Option<String>,
        /// List all that there are
        #[arg(short, long)]
        all: bool,
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        #[command(flatten)]
        archive: ArchiveArguments,
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
        #[arg(required = true, value_name = "NAME")]
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

/// Where the archive is.
#[derive(Debug, Clone, clap::Args)]
pub struct ArchiveArguments {
    /// The archive's mirror [default: that of this host's apt, else http://deb.debian.org/debian]
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// The keys that may have signed the archive [default: those of the package debian-archive-keyring]
    #[arg(long, value_name = "FILE")]
    pub keyring: Option<PathBuf>,
    /// Take an index that was good until a day that has passed
    #[arg(long)]
    pub allow_expired: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ArchiveName {
    Debian,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FlavourChoice {
    Cloud,
    Generic,
    Rt,
}
