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

/// Makes an image of a machine's files: the image it was made from, and what was changed since, as one more layer.
/// Its processes stand still meanwhile. Prints the new image's ID.
#[derive(Debug, Args)]
pub struct CommitArguments {
    /// Who has made it, such as "Ada <ada@example.org>"
    #[arg(short, long, value_name = "AUTHOR")]
    pub author: Option<String>,
    /// Change the image's configuration: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, STOPSIGNAL, USER,
    /// VOLUME or WORKDIR, as in a Dockerfile (may be repeated)
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub change: Vec<String>,
    /// What was done, for `vmrun history`
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
    /// Let the machine's processes stand still (the default), or with =false let them run on
    #[arg(short, long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, overrides_with = "no_pause")]
    pub pause: bool,
    /// Let the machine's processes run on: files that they write meanwhile may be half-written
    #[arg(long)]
    pub no_pause: bool,
    /// Show nothing but the ID
    #[arg(short, long)]
    pub quiet: bool,
    #[arg(value_name = "MACHINE")]
    pub machine: String,
    /// What the image is called [default: it has no name]
    #[arg(value_name = "NAME[:TAG]")]
    pub name: Option<String>,
}
