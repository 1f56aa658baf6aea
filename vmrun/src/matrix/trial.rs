//! One cell's machine, from its start to its removal.

use std::fs;
use std::io;
use std::net::Shutdown;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::cell::{Cell, End, Trial};
use super::interruption::Interruption;
use super::output::Output;
use crate::arguments::MachineArguments;
use crate::client::{ask, launch, watch};
use crate::commands::make;
use crate::events;
use crate::home::Home;
use crate::machine::{Ending, MachineConfig, MachineDirectory, Machines, State};
use crate::output::one_line;
use crate::supervisor::protocol::{Request, ToClient};

/// How long a machine may take to end when it is told to.
const FAREWELL: Duration = Duration::from_secs(60);

/// How many notices of a machine are kept: a guest can cause many.
const MAX_NOTICES: usize = 64;

const KILL: u8 = 9;

/// What a trial waits for.
#[derive(Debug)]
pub enum Heard {
    Told(ToClient),
    /// The supervisor is gone.
    Gone,
    Interrupted,
}

/// What was heard of a machine until its end.
#[derive(Default)]
struct Course {
    end: Option<End>,
    notices: Vec<String>,
    kernel_lines: Vec<String>,
    duration: Duration,
    /// Some of its standard output is not kept, or of its standard error.
    shortened: [bool; 2],
}

/// Runs a cell: its machine is gone afterwards, and what it wrote is in `folder`.
pub fn run(
    home: &Home,
    cell: &Cell,
    arguments: &MachineArguments,
    folder: &Path,
    interruption: &Interruption,
) -> Trial {
    let begun = Instant::now();
    let done = attempt(home, cell, arguments, folder, interruption);
    let (course, wrote) = done.unwrap_or_else(|error| {
        let end = End::Failed { why: one_line(&error) };
        (Course { end: Some(end), duration: begun.elapsed(), ..Course::default() }, true)
    });
    let end = course.end.unwrap_or(End::Interrupted);
    Trial {
        verdict: cell.expectation.judge(&end, wrote),
        end: Some(end),
        duration: course.duration,
        notices: course.notices,
        kernel_lines: course.kernel_lines,
        shortened: course.shortened != [false; 2],
        folder: None,
    }
}

/// How it went, and whether its standard output is what it should be.
fn attempt(
    home: &Home,
    cell: &Cell,
    arguments: &MachineArguments,
    folder: &Path,
    interruption: &Interruption,
) -> Result<(Course, bool)> {
    let cannot = || format!("cannot keep the output in {}", folder.display());
    let output = |stream: &str| Output::create(&folder.join(stream)).with_context(cannot);
    let outputs = [output("stdout")?, output("stderr")?];
    let (machine, config) = make(home, arguments)?;
    let attended = launch(home, &machine).and_then(|()| attend(&machine, cell, outputs, interruption));
    let state = machine.state();
    let kept = keep_log(&machine, folder);
    let removed = remove(home, &machine, &config);
    let mut course = attended?;
    if course.end.is_none() {
        course.end = Some(end_of(&state?));
    }
    kept.with_context(cannot)?;
    if let Err(error) = removed {
        course.notices.push(one_line(&error));
    }
    let wrote = match &cell.expectation.stdout {
        Some(_) if course.shortened[0] => false,
        Some(_) => cell.expectation.accepts(&fs::read(folder.join("stdout"))?),
        None => true,
    };
    Ok((course, wrote))
}

/// Waits for the machine's end, and sees to it when its time is over.
fn attend(
    machine: &MachineDirectory,
    cell: &Cell,
    outputs: [Output; 2],
    interruption: &Interruption,
) -> Result<Course> {
    let begun = Instant::now();
    let (hear, heard) = channel();
    interruption.tell(hear.clone());
    let [out, err] = watch(machine, move |told| hear.send(told.map_or(Heard::Gone, Heard::Told)).is_ok())?;
    let ends = [out.try_clone()?, err.try_clone()?];
    let [to_stdout, to_stderr] = outputs;
    let followers = [("standard output", to_stdout.follow(out)), ("standard error", to_stderr.follow(err))];
    let mut course = Course::default();
    let mut deadline = cell.timeout.map(|timeout| begun + timeout);
    loop {
        match next(&heard, deadline) {
            Ok(Heard::Told(ToClient::Ended(_)) | Heard::Gone) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(Heard::Told(ToClient::Notice(notice))) => course.take(notice),
            Ok(Heard::Told(_)) => {}
            Ok(Heard::Interrupted) => {
                course.end.get_or_insert(End::Interrupted);
                deadline = Some(stop(machine));
            }
            Err(RecvTimeoutError::Timeout) if course.end.is_none() => {
                course.end = cell.timeout.map(|after| End::TimedOut { after });
                deadline = Some(stop(machine));
            }
            // It was told to end, and nothing more is waited for.
            Err(RecvTimeoutError::Timeout) => {
                ends.iter().for_each(|end| drop(end.shutdown(Shutdown::Both)));
                break;
            }
        }
    }
    course.duration = begun.elapsed();
    for ((what, follower), shortened) in followers.into_iter().zip(&mut course.shortened) {
        let followed = follower.join().unwrap_or_else(|_| Err(io::Error::other("its reader died")));
        let left_out = followed.with_context(|| format!("cannot keep the command's {what}"))?;
        if left_out > 0 {
            *shortened = true;
            course.notices.push(format!("{left_out} bytes of the command's {what} are not kept"));
        }
    }
    Ok(course)
}

fn next(heard: &Receiver<Heard>, deadline: Option<Instant>) -> Result<Heard, RecvTimeoutError> {
    match deadline {
        Some(deadline) => heard.recv_timeout(deadline.saturating_duration_since(Instant::now())),
        None => heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
    }
}

/// Has the machine ended, and says until when that is waited for.
fn stop(machine: &MachineDirectory) -> Instant {
    let machine = machine.clone();
    // The answer comes with the end, which is heard of anyway.
    thread::spawn(move || ask(&machine, &Request::Stop { signal: KILL, seconds: 0, keep: false }).is_ok());
    Instant::now() + FAREWELL
}

impl Course {
    fn take(&mut self, notice: String) {
        let (list, line) = match notice.strip_prefix("kernel: ") {
            Some(line) => (&mut self.kernel_lines, line.to_owned()),
            None => (&mut self.notices, notice),
        };
        if list.len() < MAX_NOTICES {
            list.push(line);
        }
    }
}

/// What a machine's record says of its end.
fn end_of(state: &State) -> End {
    let why = || state.error.clone().unwrap_or_else(|| "the machine ended without a word".into());
    match (state.ending, state.exit_code) {
        (Some(Ending::Process | Ending::NotStarted), Some(code)) => End::Exited { code },
        (Some(Ending::Panic), _) => End::Panicked,
        (Some(Ending::Crash), _) => End::Crashed { why: why() },
        (Some(Ending::Stopped), _) => End::Failed { why: "somebody else stopped the machine".into() },
        _ => End::Failed { why: why() },
    }
}

/// Puts what the kernel logged into `folder`.
fn keep_log(machine: &MachineDirectory, folder: &Path) -> Result<()> {
    match fs::copy(machine.kernel_log(), folder.join("kernel.log")) {
        // It did not come so far.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        copied => Ok(copied.map(drop)?),
    }
}

fn remove(home: &Home, machine: &MachineDirectory, config: &MachineConfig) -> Result<()> {
    let lock = machine.lock()?;
    events::record(home, "destroy", machine, config, None);
    Machines::open(home).remove(machine, lock)
}
