//! The command line: what can be said, and the help that teaches it.

use std::path::{Path, PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use rootfs_builder::store::Error;

use crate::home::Home;
use crate::output::warn;

mod emulate;
mod exec;
mod files;
mod images;
mod inquiries;
mod kernel;
mod machines;
mod matrix;
mod registry;
mod resources;
mod run;
mod store;
mod verb;

pub use emulate::{EmulateArguments, EmulatedHostCommand};
pub use exec::ExecArguments;
pub use files::*;
pub use images::*;
pub use inquiries::{StatsArguments, TopArguments};
pub use kernel::{ArchiveArguments, ArchiveName, FlavourChoice, KernelCommand};
pub use machines::*;
pub use matrix::{MatrixArguments, MatrixFormat, check_cell_words, machine_arguments};
pub use registry::{LoginArguments, LogoutArguments, PullArguments, PullPolicy, PushArguments, Trust};
pub use resources::ResourceArguments;
pub use run::{CreateArguments, InitChoice, LogDriver, MachineArguments, RootfsChoice, RunArguments};
pub use store::*;

/// Runs container images in micro-VMs of their own, on the kernel you choose.
///
/// `vmrun IMAGE` is short for `vmrun run IMAGE`.
#[derive(Debug, Parser)]
#[command(name = "vmrun", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Start here:\n  vmrun doctor                     is this machine ready?\n  \
    vmrun pull alpine                get an image from a registry\n  \
    vmrun load -i image.tar          add one from an archive (docker save, OCI archive or layout)\n  \
    vmrun kernel pull debian:6.12    get a kernel from Debian's archive\n  \
    vmrun kernel add linux-image.deb add one from a distribution's package\n  \
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
    /// Run images on kernels, every one on every one, and show what came of it
    Matrix(MatrixArguments),
    /// Show a machine's processes
    Top(TopArguments),
    /// Show what machines use, every second anew
    Stats(StatsArguments),
    /// Run one more command in a machine that runs
    Exec(ExecArguments),
    /// Make a machine without starting it
    Create(CreateArguments),
    /// Start machines that do not run
    Start(StartArguments),
    /// Ask machines to end, and kill those that do not
    Stop(StopArguments),
    /// Stop machines and start them again
    Restart(StopArguments),
    /// Send a signal to the processes of machines
    Kill(KillArguments),
    /// Freeze all processes of machines
    Pause(MachinesArguments),
    /// Let the processes of paused machines go on
    Unpause(MachinesArguments),
    /// Wait until machines have ended, and print their exit codes
    Wait(MachinesArguments),
    /// Remove machines, with all that they wrote
    Rm(RmArguments),
    /// List machines
    #[command(visible_alias = "ls")]
    Ps(PsArguments),
    /// Show what a machine's process has written
    Logs(LogsArguments),
    /// Connect this terminal to a machine's process
    Attach(AttachArguments),
    /// Give a machine another name
    Rename(RenameArguments),
    /// Show what happens to machines, as it happens
    Events(EventsArguments),
    /// Get an image from a registry
    Pull(PullArguments),
    /// Send an image to a registry
    Push(PushArguments),
    /// Keep credentials for a registry
    Login(LoginArguments),
    /// Forget a registry's credentials
    Logout(LogoutArguments),
    /// List images
    Images(ImagesArguments),
    /// Show all that is known of images and machines, as JSON
    Inspect(InspectArguments),
    /// Show an image's layers: how they came to be, their sizes, what they waste
    History(HistoryArguments),
    /// Give an image one more name
    Tag(TagArguments),
    /// Copy files between this host and a machine
    Cp(CpArguments),
    /// Make an image of what has changed in a machine's files
    Commit(CommitArguments),
    /// Show what has changed in a machine's files since it was made from its image
    Diff(DiffArguments),
    /// Write a machine's files to a tar archive
    Export(ExportArguments),
    /// Add images from an archive or an OCI image layout
    Load(LoadArguments),
    /// Make an image from a root file system tarball
    Import(ImportArguments),
    /// Write images to an archive that Docker, Podman and skopeo read
    Save(SaveArguments),
    /// Remove images
    Rmi(RmiArguments),
    /// Write an image's root file system as one file, EROFS or ext4
    Rootfs(RootfsArguments),
    /// Show what images take on disk, and what they share
    Df(DfArguments),
    /// Remove images that nobody needs, and what killed commands left
    Prune(PruneArguments),
    /// Check the stored images and kernels, and repair what can be repaired
    Fsck(FsckArguments),
    /// Docker's long forms of the verbs about images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Remove all machines that do not run
    #[command(hide = true)]
    ContainerPrune(ContainerPruneArguments),
    /// Docker's long forms of the verbs about machines
    #[command(subcommand)]
    Container(ContainerCommand),
    /// Write what other programs need to run machines
    #[command(subcommand)]
    Generate(GenerateCommand),
    /// Docker's long forms of df and prune
    #[command(subcommand)]
    System(SystemCommand),
    /// Add, get, build, list and remove kernels
    #[command(subcommand)]
    Kernel(KernelCommand),
    /// Run a command on an emulated machine that has KVM
    Emulate(EmulateArguments),
    /// Holds an emulated host
    #[command(hide = true)]
    EmulatedHost { memory: u64 },
    /// Serves in an emulated host
    #[command(hide = true)]
    EmulatedAgent,
    /// Check whether this host is ready, and say what to do
    Doctor,
    /// Print a shell's completion script
    Completions { shell: clap_complete::Shell },
    /// Write the manual pages into a directory
    Man { directory: PathBuf },
}

/// How a listing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Table,
    Json,
}

/// Reads the process's arguments; on a mistake, says so and ends with 125.
pub fn parse() -> Arguments {
    let mut command = Arguments::command();
    let words = match verb::with_verb(&command, std::env::args_os().collect(), is_image) {
        Ok(words) => words,
        Err(line) => {
            warn(&format!("vmrun: {line}"));
            std::process::exit(crate::FAILED.into());
        }
    };
    let parsed = command.try_get_matches_from_mut(words);
    let parsed = parsed.and_then(|matches| Arguments::from_arg_matches(&matches));
    match parsed.map_err(|error| error.format(&mut command)) {
        Ok(arguments) => arguments,
        Err(error) => {
            let failed = error.use_stderr();
            let _ = error.print();
            std::process::exit(if failed { crate::FAILED.into() } else { 0 });
        }
    }
}

/// Whether an image of that name may be stored. Where that cannot be known, whoever runs it says why.
fn is_image(root: Option<&Path>, name: &str) -> bool {
    let images = Home::locate(root).and_then(|home| home.images());
    images.map_or(true, |images| !matches!(images.resolve(name), Err(Error::NotFound(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    /// The help of one value spreads all options of its verb over twice the lines.
    #[test]
    fn the_help_of_run_has_its_options_beside_one_another() {
        let command = Arguments::command();
        for verb in ["run", "create", "matrix"] {
            for argument in command.find_subcommand(verb).unwrap().get_arguments() {
                let helped = argument.get_possible_values().iter().any(|value| value.get_help().is_some());
                assert!(!helped && argument.get_long_help().is_none(), "{verb} {}", argument.get_id());
            }
        }
    }

    #[test]
    fn what_follows_the_image_belongs_to_the_command() {
        let words = ["vmrun", "run", "--rm", "alpine", "ls", "-l", "--memory"];
        let Command::Run(run) = Arguments::try_parse_from(words).unwrap().command else { panic!() };
        assert!(run.machine.rm);
        assert_eq!(run.machine.command, ["ls", "-l", "--memory"]);
        assert_eq!(run.machine.memory, 512 << 20);
    }
}
