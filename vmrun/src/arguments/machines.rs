//! What the verbs on machines take.

use clap::{ArgAction, Args, Subcommand};

use super::{
    Command, CpArguments, CreateArguments, DiffArguments, ExecArguments, ExportArguments, Format,
    InspectArguments, RunArguments,
};
use crate::client::DetachKeys;

#[derive(Debug, Subcommand)]
pub enum GenerateCommand {
    /// Write a systemd unit that starts a machine with the host, to standard output
    Systemd(SystemdArguments),
}

#[derive(Debug, Args)]
pub struct SystemdArguments {
    /// The machine, by name or ID
    pub machine: String,
}

/// Docker's long forms of the verbs about machines.
#[derive(Debug, Subcommand)]
pub enum ContainerCommand {
    /// Run an image's command in a machine of its own
    Run(Box<RunArguments>),
    /// Make a machine without starting it
    Create(Box<CreateArguments>),
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
    #[command(visible_aliases = ["ps", "list"])]
    Ls(PsArguments),
    /// Show what a machine's process has written
    Logs(LogsArguments),
    /// Connect this terminal to a machine's process
    Attach(AttachArguments),
    /// Give a machine another name
    Rename(RenameArguments),
    /// Run one more command in a machine that runs
    Exec(ExecArguments),
    /// Copy files between a machine and this host
    Cp(CpArguments),
    /// Show what has changed in a machine's files
    Diff(DiffArguments),
    /// Write a machine's whole file system as a tar archive
    Export(ExportArguments),
    /// Show all that is known of machines, as JSON
    Inspect(InspectArguments),
    /// Remove all machines that do not run
    Prune(ContainerPruneArguments),
}

impl From<ContainerCommand> for Command {
    fn from(command: ContainerCommand) -> Command {
        match command {
            ContainerCommand::Run(run) => Command::Run(*run),
            ContainerCommand::Create(create) => Command::Create(*create),
            ContainerCommand::Start(start) => Command::Start(start),
            ContainerCommand::Stop(stop) => Command::Stop(stop),
            ContainerCommand::Restart(restart) => Command::Restart(restart),
            ContainerCommand::Kill(kill) => Command::Kill(kill),
            ContainerCommand::Pause(pause) => Command::Pause(pause),
            ContainerCommand::Unpause(unpause) => Command::Unpause(unpause),
            ContainerCommand::Wait(wait) => Command::Wait(wait),
            ContainerCommand::Rm(rm) => Command::Rm(rm),
            ContainerCommand::Ls(ps) => Command::Ps(ps),
            ContainerCommand::Logs(logs) => Command::Logs(logs),
            ContainerCommand::Attach(attach) => Command::Attach(attach),
            ContainerCommand::Rename(rename) => Command::Rename(rename),
            ContainerCommand::Exec(exec) => Command::Exec(exec),
            ContainerCommand::Cp(cp) => Command::Cp(cp),
            ContainerCommand::Diff(diff) => Command::Diff(diff),
            ContainerCommand::Export(export) => Command::Export(export),
            ContainerCommand::Inspect(inspect) => Command::Inspect(inspect),
            ContainerCommand::Prune(prune) => Command::ContainerPrune(prune),
        }
    }
}

#[derive(Debug, Args)]
pub struct ContainerPruneArguments {
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct MachinesArguments {
    /// The machines, by name or ID
    #[arg(required = true, value_name = "MACHINE")]
    pub machines: Vec<String>,
}

#[derive(Debug, Args)]
pub struct StartArguments {
    /// Show the process's output, and exit with its code
    #[arg(short, long)]
    pub attach: bool,
    /// Forward standard input, too
    #[arg(short, long)]
    pub interactive: bool,
    /// The keys that leave a machine with a terminal running
    #[arg(long, value_name = "KEYS", default_value_t)]
    pub detach_keys: DetachKeys,
    /// The machines, by name or ID
    #[arg(required = true, value_name = "MACHINE")]
    pub machines: Vec<String>,
}

#[derive(Debug, Args)]
pub struct StopArguments {
    /// The signal that asks the process to end [default: the machine's]
    #[arg(short, long, value_name = "SIGNAL")]
    pub signal: Option<String>,
    /// How long it may take until it is killed, in seconds [default: the machine's]
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS")]
    pub time: Option<u64>,
    /// The machines, by name or ID
    #[arg(required = true, value_name = "MACHINE")]
    pub machines: Vec<String>,
}

#[derive(Debug, Args)]
pub struct KillArguments {
    /// The signal
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    pub signal: String,
    /// The machines, by name or ID
    #[arg(required = true, value_name = "MACHINE")]
    pub machines: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RmArguments {
    /// Kill machines that run
    #[arg(short, long)]
    pub force: bool,
    /// The machines, by name or ID
    #[arg(required = true, value_name = "MACHINE")]
    pub machines: Vec<String>,
}

#[derive(Debug, Args)]
pub struct PsArguments {
    /// Those that do not run, too
    #[arg(short, long)]
    pub all: bool,
    /// Only those that fit: id, name, label, status, exited, ancestor
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    /// Only the last N that were made, whether they run or not
    #[arg(short = 'n', long, value_name = "N")]
    pub last: Option<usize>,
    /// Only the one that was made last
    #[arg(short, long)]
    pub latest: bool,
    /// Print only IDs
    #[arg(short, long)]
    pub quiet: bool,
    /// Do not shorten commands
    #[arg(long)]
    pub no_trunc: bool,
    /// What the machines' disks take, too
    #[arg(short, long)]
    pub size: bool,
    /// How the list is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct LogsArguments {
    /// Go on until the machine ends
    #[arg(short, long)]
    pub follow: bool,
    /// Only what was written since: a time, or an age such as 10m
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only what was written before: a time, or an age
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only so many lines from the end, or all
    #[arg(short = 'n', long, value_name = "N", default_value = "all")]
    pub tail: String,
    /// When each line was written, before it
    #[arg(short, long)]
    pub timestamps: bool,
    /// The kernel's log instead
    #[arg(long)]
    pub kernel_log: bool,
    /// The machine, by name or ID
    pub machine: String,
}

#[derive(Debug, Args)]
pub struct AttachArguments {
    /// The keys that leave a machine with a terminal running
    #[arg(long, value_name = "KEYS", default_value_t)]
    pub detach_keys: DetachKeys,
    /// Do not forward standard input
    #[arg(long)]
    pub no_stdin: bool,
    /// Pass signals that vmrun gets to the process
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true")]
    pub sig_proxy: bool,
    /// The machine, by name or ID
    pub machine: String,
}

#[derive(Debug, Args)]
pub struct RenameArguments {
    /// The machine, by name or ID
    pub machine: String,
    /// Its new name
    pub name: String,
}

#[derive(Debug, Args)]
pub struct EventsArguments {
    /// Begin with what happened since: a time, or an age such as 10m
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// End with what happened until then, and do not wait for more
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only those that fit: event, machine, image, label
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    /// How each is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}
