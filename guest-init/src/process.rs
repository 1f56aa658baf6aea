//! Starting the machine's processes: the first one, as PID 1 of a PID namespace of its own, and more
//! beside it.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::time::Duration;

use guest_protocol::{Init, Process, StartFailure};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::Mode;
use rustix::io::{Errno, read, write};
use rustix::process::{Pid, Rlimit, chdir, getcwd, setsid, umask};

use crate::cgroup::Cgroup;
use crate::command::{self, Command, NotStarted};
use crate::descriptors;
use crate::errno;
use crate::image_init;
use crate::mounts::make_directories;
use crate::namespaces::{self, Fork, Namespaces};
use crate::privileges::Privileges;
use crate::signals;
use crate::stamp::Stamps;
use crate::stdio::{Ends, Stdio};
use crate::user::{self, Identity};
use crate::wall;

/// Everything looked up and made, so that nothing is left but to start it.
pub struct Prepared {
    command: Command,
    identity: Identity,
    stdio: Stdio,
    privileges: Privileges,
}

/// A process that runs.
pub struct Started {
    pub pid: Pid,
    pub ends: Ends,
}

/// A process that is about to execute its command.
pub struct Starting {
    pub pid: Pid,
    pub ends: Ends,
    /// Ends when the command runs; what comes before says why it does not.
    pub report: OwnedFd,
}

/// Makes `cwd` when it is missing, as Docker does.
pub fn make_working_directory(process: &Process) -> Result<(), NotStarted> {
    if process.cwd.is_empty() {
        return Ok(());
    }
    make_directories(&process.cwd).map_err(|error| no_working_directory(&process.cwd, error))
}

/// Looks up user and command in the root that guest-init has now, and makes the streams. `files` is
/// what guest-init itself was given for open files.
pub fn prepare(
    process: &Process,
    hostname: Option<&str>,
    files: Rlimit,
    init: Init,
) -> Result<Prepared, NotStarted> {
    let identity = user::look_up(&process.user, &process.groups)
        .map_err(|error| NotStarted::other(error.to_string()))?;
    let command = command::complete(process, &identity, hostname)?;
    let stdio = match init {
        Init::None => Stdio::open(process, &identity),
        Init::Image => Stdio::console(process, &identity),
    };
    let stdio = stdio.map_err(|error| doing("cannot make the process's streams", error))?;
    Ok(Prepared { command, identity, stdio, privileges: Privileges::of(process, files) })
}

impl Prepared {
    /// Starts the machine's first process; returns when the command itself runs.
    pub fn start(
        self,
        process: &Process,
        stamps: &mut Stamps,
        cgroup: Option<&Cgroup>,
    ) -> Result<Started, NotStarted> {
        let starting = self.fork(
            || namespaces::fork_first(cgroup),
            |prepared, report, joined| {
                stamps.close();
                joined.map_err(no_cgroup)?;
                namespaces::settle(cgroup.is_some())
                    .map_err(|error| doing("cannot mount /proc and the cgroups of the process", error))?;
                wall::close(process)
                    .map_err(|error| doing("cannot make read-only what the kernel shows of itself", error))?;
                let streams = prepared.stdio.install();
                streams.map_err(|error| doing("cannot install the process's streams", error))?;
                prepared.stdio.offer_console();
                prepared.execute(StartFailure::Other, report)
            },
        )?;
        match receive_report(&starting.report) {
            Some(failed) => Err(failed),
            None => Ok(Started { pid: starting.pid, ends: starting.ends }),
        }
    }

    /// Hands PID 1 over to the image's init; what returns is a process of its own, in `agent`.
    pub fn start_as_init(
        self,
        stamps: &mut Stamps,
        cgroup: Option<&Cgroup>,
        agent: Option<&Cgroup>,
    ) -> Result<Started, NotStarted> {
        let (report, child_report) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| doing("cannot make a pipe", error))?;
        match namespaces::fork_plain(agent).map_err(|error| doing("cannot make a process", error))? {
            Fork::Child(_) => {
                image_init::become_agent().map_err(|error| doing("cannot leave PID 1", error))?;
                drop(child_report);
                match receive_report(&report) {
                    Some(failed) => Err(failed),
                    None => Ok(Started { pid: Pid::INIT, ends: self.stdio.into_ours() }),
                }
            }
            Fork::Parent(_) => {
                drop(report);
                stamps.close();
                let Err(failed) = self.become_init(cgroup, &child_report);
                send_report(&child_report, &failed);
                drop(child_report);
                // The agent powers the machine off, which cannot be without a PID 1 until then.
                loop {
                    std::thread::sleep(Duration::from_secs(3600));
                }
            }
        }
    }

    fn become_init(&self, cgroup: Option<&Cgroup>, report: &OwnedFd) -> Result<Infallible, NotStarted> {
        if let Some(cgroup) = cgroup {
            // systemd has to find itself at the root of all cgroups that it is shown.
            match image_init::is_systemd(&self.command.candidates) {
                true => cgroup.join_freezer(),
                false => drop(cgroup.join()),
            }
        }
        self.stdio.offer_console();
        self.stdio
            .install_without_control()
            .map_err(|error| doing("cannot install the process's streams", error))?;
        self.execute(StartFailure::Other, report)
    }

    /// Starts one more process beside the machine's first, in `cgroup`, or in what `another` finds where
    /// that one has been divided and takes no processes any more.
    pub fn start_in(
        self,
        namespaces: &Namespaces,
        cgroup: Option<&Cgroup>,
        another: impl Fn() -> Option<Cgroup>,
    ) -> Result<Starting, NotStarted> {
        self.fork(
            || or_elsewhere(namespaces.fork(cgroup), &another, |cgroup| namespaces.fork(Some(cgroup))),
            |prepared, report, joined| {
                image_init::be_spared_no_more();
                or_elsewhere(joined, &another, Cgroup::join).map_err(no_cgroup)?;
                namespaces.join().map_err(|error| doing("cannot join the machine's namespaces", error))?;
                let streams = prepared.stdio.install();
                streams.map_err(|error| doing("cannot install the process's streams", error))?;
                prepared.execute(StartFailure::NotFound, report)
            },
        )
    }

    fn fork(
        self,
        fork: impl FnOnce() -> Result<Fork, Errno>,
        run: impl FnOnce(&Prepared, &OwnedFd, Result<(), Errno>) -> Result<Infallible, NotStarted>,
    ) -> Result<Starting, NotStarted> {
        let (report, child_report) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| doing("cannot make a pipe", error))?;
        match fork().map_err(|error| doing("cannot make a process", error))? {
            Fork::Parent(pid) => Ok(Starting { pid, ends: self.stdio.into_ours(), report }),
            Fork::Child(joined) => {
                let session = setsid().map_err(|error| doing("cannot make a session", error));
                let Err(failed) = session.and_then(|_| run(&self, &child_report, joined));
                send_report(&child_report, &failed);
                // SAFETY: ends this child at once, without anything of the parent's being run or flushed.
                unsafe { libc::_exit(127) };
            }
        }
    }

    /// The last steps, in the child. `without_directory` is what a missing working directory counts as; only
    /// `report` is left of what is open, beside the streams.
    fn execute(&self, without_directory: StartFailure, report: &OwnedFd) -> Result<Infallible, NotStarted> {
        // Before any path of the image's is looked up: one of them may be below /proc/self/fd.
        descriptors::close_all_but(&mut [report.as_raw_fd()])
            .map_err(|error| doing("cannot close what is open", error))?;
        enter(&self.command.cwd).map_err(|error| {
            let failed = no_working_directory(self.command.cwd.to_bytes(), error);
            if error == Errno::NOENT { NotStarted { failure: without_directory, ..failed } } else { failed }
        })?;
        umask(Mode::from_raw_mode(0o022));
        self.privileges.apply(&self.identity)?;
        signals::reset();
        Err(execute(&self.command))
    }
}

/// A cgroup that has been divided takes no processes any more: what came of it, or of where `another` says that the
/// machine's own has gone. Nowhere else is a process to be: neither limits nor pauses would be its.
fn or_elsewhere<T, C>(
    done: Result<T, Errno>,
    another: impl Fn() -> Option<C>,
    again: impl FnOnce(&C) -> Result<T, Errno>,
) -> Result<T, Errno> {
    match done {
        Err(Errno::BUSY) => again(&another().ok_or(Errno::BUSY)?),
        done => done,
    }
}

fn no_cgroup(error: Errno) -> NotStarted {
    doing("cannot join the machine's cgroup", error)
}

fn doing(what: &str, error: Errno) -> NotStarted {
    NotStarted::other([what, ": ", &errno::in_words(&error)].concat())
}

/// Makes `path` the working directory, if it is one below this process's root. /proc can lead to others: to those that
/// another process has open.
fn enter(path: &CStr) -> Result<(), Errno> {
    chdir(path)?;
    match getcwd(Vec::new())?.to_bytes().first() {
        Some(b'/') => Ok(()),
        // "(unreachable)", as the kernel has it.
        _ => Err(Errno::NOENT),
    }
}

fn no_working_directory(path: &[u8], error: Errno) -> NotStarted {
    doing(&["cannot use the working directory ", &String::from_utf8_lossy(path)].concat(), error)
}

/// Tries each candidate as execvp(3) does; returns only when none could be executed.
fn execute(command: &Command) -> NotStarted {
    let args = pointers(&command.args);
    let env = pointers(&command.env);
    let mut denied = None;
    for candidate in &command.candidates {
        // SAFETY: all three are NUL-terminated strings and NULL-terminated arrays of such, alive until
        // the call returns, which it does only when it fails.
        unsafe { libc::execve(candidate.as_ptr(), args.as_ptr(), env.as_ptr()) };
        let error = errno::last();
        match error {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => denied = Some(error),
            error => return not_executed(&command.args[0], error),
        }
    }
    not_executed(&command.args[0], denied.unwrap_or(Errno::NOENT))
}

fn not_executed(program: &CStr, error: Errno) -> NotStarted {
    let failure = match error {
        Errno::NOENT | Errno::NOTDIR => StartFailure::NotFound,
        _ => StartFailure::NotExecutable,
    };
    let program = program.to_string_lossy();
    let message = match error {
        Errno::NOENT if !program.contains('/') => [&program, ": executable file not found in $PATH"].concat(),
        Errno::NOEXEC => [&program, ": exec format error"].concat(),
        error => [&program, ": ", &errno::in_words(&error)].concat(),
    };
    NotStarted { failure, message }
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// One byte for the kind, then the message. A message is short, so a pipe takes it whole.
fn send_report(to: &OwnedFd, failed: &NotStarted) {
    let mut report = vec![match failed.failure {
        StartFailure::NotFound => b'f',
        StartFailure::NotExecutable => b'x',
        StartFailure::Other => b'o',
    }];
    report.extend_from_slice(failed.message.as_bytes());
    let _ = write(to, &report[..report.len().min(4096)]);
}

/// `None` when the pipe was closed by a successful exec.
pub fn receive_report(from: &OwnedFd) -> Option<NotStarted> {
    let mut report = [0; 4096];
    let count = loop {
        match read(from, &mut report) {
            Err(Errno::INTR) => {}
            Ok(count) => break count,
            Err(_) => break 0,
        }
    };
    let (kind, message) = report[..count].split_first()?;
    let failure = match kind {
        b'f' => StartFailure::NotFound,
        b'x' => StartFailure::NotExecutable,
        _ => StartFailure::Other,
    };
    Some(NotStarted { failure, message: String::from_utf8_lossy(message).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_in_the_machines_cgroup_or_nowhere() {
        let elsewhere = || Some("inner");
        let again = |name: &&str| if *name == "inner" { Ok(2) } else { Err(Errno::PERM) };
        assert_eq!(or_elsewhere(Ok(1), elsewhere, again), Ok(1));
        assert_eq!(or_elsewhere(Err(Errno::BUSY), elsewhere, again), Ok(2));
        assert_eq!(or_elsewhere(Err(Errno::BUSY), || None, again), Err(Errno::BUSY));
        assert_eq!(or_elsewhere(Err(Errno::BUSY), || Some("x"), again), Err(Errno::PERM));
        assert_eq!(or_elsewhere(Err(Errno::NOENT), elsewhere, again), Err(Errno::NOENT));
    }
}
