//! What `vmrun matrix` takes: its own, and of what `vmrun run` takes all that makes sense for a cell.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::MachineArguments;

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
#[command(
    after_help = "Exit code: 0 when every cell did what was expected of it, 1 when one did not, 125 when \
    vmrun could not run one, 130 when it was interrupted."
)]
pub struct MatrixArguments {
    /// Show this help
    #[arg(long, action = ArgAction::Help)]
    pub help: Option<bool>,
    /// A kernel to run on, by name; may be said several times
    #[arg(long, value_name = "NAME")]
    pub kernel: Vec<String>,
    /// An image to run, by name or ID; may be said several times
    #[arg(long, value_name = "IMAGE")]
    pub image: Vec<String>,
    /// Read kernels, images, commands and expectations from a file [default: vmrun-matrix.toml, if there
    /// is one and no --kernel and --image say what to run]
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How many machines run at a time [default: as many as processors and memory allow;
    /// one with --bisect]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// How long each machine may run, in seconds; 0 is no limit [default: 600]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u32>,
    /// Start no more machines when one has failed
    #[arg(long)]
    pub fail_fast: bool,
    /// Keep each cell's output and kernel log there [default: vmrun-matrix/TIME]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = MatrixFormat::Table)]
    pub format: MatrixFormat,
    /// Find the first kernel that fails: they are in order, the first passes and the last fails
    #[arg(long, conflicts_with = "fail_fast")]
    pub bisect: bool,
    /// Believe that the first kernel passes and the last fails
    #[arg(long, requires = "bisect")]
    pub assume: bool,
    #[command(flatten)]
    pub cells: CellArguments,
    /// The command and its arguments [default: the image's]
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// What the result of a matrix is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum MatrixFormat {
    Table,
    Json,
    Junit,
    Markdown,
}

/// Options of `vmrun run`, as words.
#[derive(Debug, Default, Clone)]
pub struct CellArguments {
    pub words: Vec<OsString>,
}

/// What a cell is not asked: who it is, who looks on, and what happens to it afterwards.
const NOT_FOR_CELLS: [&str; 17] = [
    "help",
    "name",
    "cidfile",
    "restart",
    "stop_signal",
    "stop_timeout",
    "disk_flush",
    "log_driver",
    "interactive",
    "tty",
    "kernel",
    "console",
    "rm",
    "image",
    "command",
    "label",
    "label_file",
];

fn arguments_of_cells() -> impl Iterator<Item = Arg> {
    let run = MachineArguments::augment_args(Command::new("run"));
    let arguments: Vec<Arg> = run.get_arguments().cloned().collect();
    arguments.into_iter().filter(|argument| !NOT_FOR_CELLS.contains(&argument.get_id().as_str())).map(
        |argument| match argument.get_help_heading() {
            None => argument.help_heading("Each machine, as for `vmrun run`"),
            Some(_) => argument,
        },
    )
}

impl Args for CellArguments {
    fn augment_args(command: Command) -> Command {
        command.args(arguments_of_cells())
    }

    fn augment_args_for_update(command: Command) -> Command {
        CellArguments::augment_args(command)
    }
}

impl FromArgMatches for CellArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<CellArguments, clap::Error> {
        let mut given = CellArguments::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for argument in arguments_of_cells() {
            let (id, Some(long)) = (argument.get_id().as_str(), argument.get_long()) else { continue };
            if matches.value_source(id) != Some(clap::parser::ValueSource::CommandLine) {
                continue;
            }
            let option = format!("--{long}");
            if argument.get_action().takes_values() {
                let values = matches.get_raw(id).into_iter().flatten();
                self.words.extend(values.map(|value| joined(&option, value)));
            } else {
                self.words.push(option.into());
            }
        }
        Ok(())
    }
}

fn joined(option: &str, value: &OsStr) -> OsString {
    let mut word = OsString::from(option);
    word.push("=");
    word.push(value);
    word
}

/// What `vmrun run --kernel KERNEL WORDS… IMAGE COMMAND…` asks for; of an option that is said twice the last one
/// holds. A mistake is told in a line.
pub fn machine_arguments(
    words: &[OsString],
    kernel: &str,
    image: &str,
    command: &[OsString],
) -> Result<MachineArguments, String> {
    let all = words.iter().cloned();
    let all = all.chain([joined("--kernel", kernel.as_ref()), "--".into(), image.into()]);
    let parser = Command::new("run").no_binary_name(true).args_override_self(true).disable_help_flag(true);
    let matches = MachineArguments::augment_args(parser)
        .try_get_matches_from(all.chain(command.iter().cloned()))
        .and_then(|matches| MachineArguments::from_arg_matches(&matches));
    matches.map_err(|error| {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        line.strip_prefix("error: ").unwrap_or(line).to_owned()
    })
}

/// Checks options of `vmrun run` that somebody wrote down for cells.
pub fn check_cell_words(words: &[OsString]) -> Result<(), String> {
    let allowed = Command::new("run").no_binary_name(true).args_override_self(true).disable_help_flag(true);
    let checked = CellArguments::augment_args(allowed).try_get_matches_from(words);
    checked.map(drop).map_err(|error| {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        line.strip_prefix("error: ").unwrap_or(line).to_owned()
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command as Verb};

    fn matrix(words: &[&str]) -> MatrixArguments {
        let words = ["vmrun", "matrix"].into_iter().chain(words.iter().copied());
        match Arguments::try_parse_from(words).unwrap().command {
            Verb::Matrix(matrix) => matrix,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_of_run_reach_each_machine() {
        let said = ["--kernel", "a", "--kernel=b", "--image", "i", "-m", "1g", "-e", "A=1", "-eB=2"];
        let given =
            matrix(&[&said[..], &["--privileged", "--tmpfs-root", "--", "ls", "-l", "--memory"]].concat());
        assert_eq!(given.kernel, ["a", "b"]);
        let machine = machine_arguments(&given.cells.words, "a", "i", &given.command).unwrap();
        assert_eq!((machine.memory, machine.kernel.as_deref()), (1 << 30, Some("a")));
        assert_eq!(machine.env, ["A=1", "B=2"]);
        assert!(machine.resources.privileged && machine.tmpfs_root && !machine.rm);
        assert_eq!(
            (&*machine.image, &machine.command[..]),
            ("i", &["ls".into(), "-l".into(), "--memory".into()][..])
        );
    }

    #[test]
    fn the_last_of_two_holds_and_lists_grow() {
        let words = ["--memory=1g", "--env=A=1", "--memory=2g", "--env=B=2"].map(OsString::from);
        let machine = machine_arguments(&words, "k", "-i", &[]).unwrap();
        assert_eq!((machine.memory, &*machine.image, machine.env.len()), (2 << 30, "-i", 2));
    }

    #[test]
    fn mistakes_are_told_in_a_line() {
        let mistake = machine_arguments(&["--memory=much".into()], "k", "i", &[]).unwrap_err();
        assert!(mistake.contains("much") && !mistake.contains('\n'), "{mistake}");
        assert!(check_cell_words(&["--rm".into()]).unwrap_err().contains("--rm"));
        assert!(
            check_cell_words(&["--kernel=x".into()]).is_err() && check_cell_words(&["word".into()]).is_err()
        );
        assert!(check_cell_words(&["--privileged".into(), "--cpus=2".into()]).is_ok());
    }

    #[test]
    fn what_is_not_for_cells_is_known_to_run() {
        let run = MachineArguments::augment_args(Command::new("run"));
        for id in NOT_FOR_CELLS {
            assert!(run.get_arguments().any(|argument| argument.get_id() == id), "{id}");
        }
    }
}
