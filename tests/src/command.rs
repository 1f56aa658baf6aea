//! A `vmrun` command line, put together and run.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, Stdio};
use std::thread;
use std::time::Duration;

use crate::process::{Outcome, Running};
use crate::setting;

/// Ample for one start on an emulated machine that runs another one beside it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A command line of vmrun's that has not been run yet.
#[derive(Debug)]
pub struct Command {
    words: Vec<OsString>,
    /// The image, after which the words are the guest's.
    image: Option<String>,
    command: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Option<Vec<u8>>,
    patience: Duration,
    /// Another user, and that user's vmrun.
    by: Option<(u32, PathBuf)>,
}

/// `vmrun WORDS…` on the tests' store.
pub fn vmrun(words: impl IntoIterator<Item = impl Into<OsString>>) -> Command {
    Command {
        words: words.into_iter().map(Into::into).collect(),
        image: None,
        command: Vec::new(),
        env: Vec::new(),
        stdin: None,
        patience: PATIENCE,
        by: None,
    }
}

/// `vmrun run --rm IMAGE` on the tests' store.
pub fn machine(image: &str) -> Command {
    Command { image: Some(image.into()), ..vmrun(["run", "--rm"]) }
}

/// `vmrun run IMAGE`, of which a record stays.
pub fn recorded_machine(image: &str) -> Command {
    Command { image: Some(image.into()), ..vmrun(["run", "--verbose"]) }
}

impl Command {
    /// Adds vmrun's own words, before the image.
    pub fn with(mut self, words: impl IntoIterator<Item = impl Into<OsString>>) -> Command {
        self.words.extend(words.into_iter().map(Into::into));
        self
    }

    /// The guest's command.
    pub fn command(mut self, words: impl IntoIterator<Item = impl Into<OsString>>) -> Command {
        self.command = words.into_iter().map(Into::into).collect();
        self
    }

    /// The guest's command, as a shell script.
    pub fn shell(self, script: &str) -> Command {
        self.command(["sh", "-c", script])
    }

    /// Runs it on another state directory.
    pub fn home(self, home: impl Into<OsString>) -> Command {
        self.env("VMRUN_HOME", home)
    }

    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Command {
        self.env.push((name.into(), value.into()));
        self
    }

    /// What standard input gives before it ends; else it is /dev/null.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Command {
        self.stdin = Some(bytes.into());
        self
    }

    pub fn patience(mut self, patience: Duration) -> Command {
        self.patience = patience;
        self
    }

    /// Has a user run a vmrun of theirs, in an environment that has only what is added to it.
    pub(crate) fn by(mut self, user: u32, program: PathBuf) -> Command {
        self.by = Some((user, program));
        self
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Outcome {
        let stdin = self.stdin.take();
        let mut running = self.start_with(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        if let (Some(bytes), Some(mut pipe)) = (stdin, running.stdin()) {
            // A command that leaves input unread makes this fail, as it may.
            thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        running.wait()
    }

    /// Starts it with nothing on standard input.
    pub fn start(self) -> Running {
        self.start_with(Stdio::null())
    }

    /// Starts it with a pipe for standard input.
    pub fn start_with_stdin(self) -> Running {
        self.start_with(Stdio::piped())
    }

    fn start_with(self, stdin: Stdio) -> Running {
        let mut command = self.process();
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::new(command, self.shown(), self.patience)
    }

    /// Starts it with a terminal for all three streams.
    pub(crate) fn start_on(self, terminal: &OwnedFd, prepare: fn() -> std::io::Result<()>) -> Running {
        let stream = || Stdio::from(terminal.try_clone().expect("cannot duplicate a terminal"));
        let mut command = self.process();
        command.stdin(stream()).stdout(stream()).stderr(stream());
        // SAFETY: `prepare` makes two system calls (setsid, ioctl) and nothing else: it takes no
        // lock and allocates nothing.
        unsafe { command.pre_exec(prepare) };
        Running::new(command, self.shown(), self.patience)
    }

    fn process(&self) -> process::Command {
        let mut command = match &self.by {
            None => process::Command::new(setting("VMRUN")),
            Some((user, program)) => {
                let mut command = process::Command::new(program);
                command.uid(*user).gid(*user).env_clear();
                command
            }
        };
        command.args(&self.words).args(&self.image).args(&self.command);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The command line as a person would read it.
    fn shown(&self) -> String {
        let image = self.image.iter().map(OsString::from);
        let words: Vec<OsString> =
            self.words.iter().cloned().chain(image).chain(self.command.iter().cloned()).collect();
        words.iter().fold("vmrun".into(), |line, word| format!("{line} {}", word.to_string_lossy()))
    }
}
