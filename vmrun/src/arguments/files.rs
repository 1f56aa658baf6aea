//! What the verbs about a machine's files take.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

/// Copies files between this host and a machine, running or stopped. One of the two is MACHINE:PATH, where PATH
/// begins at the machine's root; the other is a path of this host's, or `-` for a tar archive on standard input
/// or output. A directory goes into an existing directory, or becomes a new one; with `/.` at its end, what is
/// in it goes. Files that come into a machine are root's, files that come out are yours.
#[derive(Debug, Args)]
pub struct CpArguments {
    /// Keep owners, setuid bits, ACLs and capabilities
    #[arg(short, long)]
    pub archive: bool,
    /// Copy what SOURCE points to when it is a symbolic link
    #[arg(short = 'L', long)]
    pub follow_link: bool,
    /// Do not say what was copied
    #[arg(short, long)]
    pub quiet: bool,
    #[arg(value_name = "SOURCE")]
    pub source: OsString,
    #[arg(value_name = "DESTINATION")]
    pub destination: OsString,
}

/// Shows every path that was added (A), changed (C) or deleted (D), one a line.
#[derive(Debug, Args)]
pub struct DiffArguments {
    #[arg(value_name = "MACHINE")]
    pub machine: String,
}

/// Writes all of a machine's files, without what is mounted over them, to a tar archive.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// The file to write [default: standard output, if that is no terminal]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[arg(value_name = "MACHINE")]
    pub machine: String,
}
