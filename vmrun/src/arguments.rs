//! The command line: what can be said, and the help that teaches it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::size;

/// Runs container images in micro-VMs of their own, on the kernel you choose.
///
/// `vmrun IMAGE` is short for `vmrun run IMAGE`.
#[derive(Debug, Parser)]
#[command(name = "vmrun", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Start here:\n  vmrun doctor                     is this machine ready?\n  \
    vmrun load -i image.tar          add an image (docker save, OCI archive or layout)\n  \
    vmrun kernel add linux-image.deb add a kernel\n  \
    vmrun -it alpine sh              run a shell on it")]
pub struct Arguments {
    /// State directory [default: $VMRUN_HOME, else /var/lib/vmrun for root, else
    /// $XDG_DATA_HOME/vmrun]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub root: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an image's command in a machine of its own
    Run(RunArguments),
    /// List images
    #[command(visible_alias = "image-ls")]
    Images(ImagesArguments),
    /// Add images from an archive or an OCI image layout
    Load(LoadArguments),
    /// Make an image from a root file system tarball
    Import(ImportArguments),
    /// Remove images
    Rmi(RmiArguments),
    /// Write an image's root file system as one EROFS file
    Rootfs(RootfsArguments),
    /// Check the stored images, and repair what is damaged
    Fsck(FsckArguments),
    /// Manage kernels
    #[command(subcommand)]
    Kernel(KernelCommand),
    /// Run a command on an emulated machine that has KVM
    Emulate(EmulateArguments),
    /// Check whether this host is ready, and say what to do
    Doctor,
    /// Print a shell's completion script
    Completions { shell: clap_complete::Shell },
    /// Write the manual pages into a directory
    Man { directory: PathBuf },
    /// The monitor of one machine (started by vmrun itself)
    #[command(hide = true)]
    Monitor,
}

#[derive(Debug, Args)]
pub struct RunArguments {
    /// Keep standard input open and forward it
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Set an environment variable; without a value, pass the host's
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Read environment variables from a file, one NAME=VALUE a line
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Working directory of the process
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User of the process: name or number, with an optional :GROUP
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Memory of the machine, such as 512m or 2g
    #[arg(short, long, value_name = "SIZE", default_value = "512m", value_parser = size::parse)]
    pub memory: u64,
    /// Processors of the machine
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub cpus: u8,
    /// Replace the image's entrypoint
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// The machine's host name [default: its ID]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Kernel to run on [default: the default kernel, see `vmrun kernel ls`]
    #[arg(long, value_name = "NAME")]
    pub kernel: Option<String>,
    /// Add an argument to the kernel's command line
    #[arg(long, value_name = "ARG")]
    pub kernel_arg: Vec<String>,
    /// Start the kernel as its distribution does, more slowly: no self-test or probe is skipped, and
    /// modules keep their signatures
    #[arg(long)]
    pub stock_boot: bool,
    /// How the image's disk is attached [default: pmem where the kernel can DAX, else blk]
    #[arg(long, value_name = "DEVICE")]
    pub rootfs_device: Option<RootfsChoice>,
    /// Show the kernel's messages on standard error while it runs
    #[arg(long)]
    pub console: bool,
    /// Remove the machine's record when it ends
    #[arg(long)]
    pub rm: bool,
    /// Mount the root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// Show where the time of the start went
    #[arg(long)]
    pub timing: bool,
    /// Say what is being done
    #[arg(long)]
    pub verbose: bool,
    /// The image, by name or ID
    pub image: String,
    /// The command and its arguments [default: the image's]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RootfsChoice {
    Pmem,
    Blk,
}

/// How a listing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub struct ImagesArguments {
    /// Print image IDs alone
    #[arg(short, long)]
    pub quiet: bool,
    /// Print IDs whole
    #[arg(long)]
    pub no_trunc: bool,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct LoadArguments {
    /// An archive (docker save or OCI), `-` for standard input, or an OCI layout directory
    #[arg(short, long, value_name = "PATH")]
    pub input: PathBuf,
    /// Name the image [default: the name its archive gives it]
    #[arg(long, value_name = "NAME[:TAG]")]
    pub name: Option<String>,
    /// Print no progress
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct ImportArguments {
    /// Command the image runs, as JSON (["sh","-c","…"]) or words for a shell; may be repeated,
    /// once a word
    #[arg(long, value_name = "COMMAND")]
    pub cmd: Vec<String>,
    /// Entrypoint of the image, in the same forms
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Vec<String>,
    /// Set an environment variable in the image
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Working directory of the image's command
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User of the image's command
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Label the image
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// Print no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// A tarball of a root file system, compressed or not; `-` for standard input
    pub file: PathBuf,
    /// The new image's name
    #[arg(value_name = "NAME[:TAG]")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct RmiArguments {
    /// Remove an image by its ID even when it has several names
    #[arg(short, long)]
    pub force: bool,
    /// Names or IDs
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RootfsArguments {
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The image, by name or ID
    pub image: String,
}

/// Reads everything that an image's name refers to and holds it against its digest. Layers and disks are built
/// again from their blobs; a damaged blob is taken away, and the images that have to be pulled or loaded again
/// are named. Machines may run meanwhile.
///
/// Exit codes are those of fsck(8): 0 nothing was wrong, 1 everything was repaired, 4 something is still damaged.
#[derive(Debug, Args)]
pub struct FsckArguments {
    /// Only look, change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print only what is damaged
    #[arg(short, long)]
    pub quiet: bool,
}

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

#[derive(Debug, Args)]
pub struct EmulateArguments {
    /// Memory of the emulated machine
    #[arg(short, long, value_name = "SIZE", default_value = "2g", value_parser = size::parse)]
    pub memory: u64,
    /// Processors of the emulated machine; they take turns on one of this host's
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub cpus: u8,
    /// Let its clock count instructions, so that timings repeat (one processor, slower)
    #[arg(long)]
    pub icount: bool,
    /// Kernel it boots; needs 9p and KVM [default: the first stored one that has them]
    #[arg(long, value_name = "NAME")]
    pub kernel: Option<String>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Reads the process's arguments; on a mistake, says so and ends with 125.
pub fn parse() -> Arguments {
    let words: Vec<OsString> = std::env::args_os().collect();
    match Arguments::try_parse_from(with_verb(words)) {
        Ok(arguments) => arguments,
        Err(error) => {
            let failed = error.use_stderr();
            let _ = error.print();
            std::process::exit(if failed { crate::FAILED.into() } else { 0 });
        }
    }
}

/// Puts in the `run` that `vmrun IMAGE` leaves out: when the first word after the global options
/// is neither a verb nor a request for help.
fn with_verb(mut words: Vec<OsString>) -> Vec<OsString> {
    let mut at = 1;
    while let Some(word) = words.get(at).and_then(|word| word.to_str()) {
        match word {
            "--root" => at += 2,
            word if word.starts_with("--root=") => at += 1,
            _ => break,
        }
    }
    let Some(word) = words.get(at) else { return words };
    let is_known = word.to_str().is_some_and(|word| {
        ["-h", "--help", "-V", "--version"].contains(&word)
            || Arguments::command()
                .get_subcommands()
                .any(|verb| verb.get_name() == word || verb.get_all_aliases().any(|alias| alias == word))
    });
    if !is_known {
        words.insert(at, "run".into());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verb_of(words: &[&str]) -> Vec<String> {
        with_verb(words.iter().map(OsString::from).collect())
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect()
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_image_needs_no_verb() {
        assert_eq!(verb_of(&["vmrun", "centos"]), ["vmrun", "run", "centos"]);
        assert_eq!(verb_of(&["vmrun", "-it", "alpine", "sh"]), ["vmrun", "run", "-it", "alpine", "sh"]);
        assert_eq!(verb_of(&["vmrun", "--root", "/x", "a"]), ["vmrun", "--root", "/x", "run", "a"]);
        assert_eq!(verb_of(&["vmrun", "--root=/x", "images"]), ["vmrun", "--root=/x", "images"]);
        assert_eq!(verb_of(&["vmrun", "images"]), ["vmrun", "images"]);
        assert_eq!(verb_of(&["vmrun", "--help"]), ["vmrun", "--help"]);
        assert_eq!(verb_of(&["vmrun"]), ["vmrun"]);
    }

    #[test]
    fn what_follows_the_image_belongs_to_the_command() {
        let words = ["vmrun", "run", "--rm", "alpine", "ls", "-l", "--memory"];
        let Command::Run(run) = Arguments::try_parse_from(words).unwrap().command else { panic!() };
        assert!(run.rm);
        assert_eq!(run.command, ["ls", "-l", "--memory"]);
        assert_eq!(run.memory, 512 << 20);
    }
}
