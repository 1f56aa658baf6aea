//! A `vmrun` that runs, and how it ended.

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::kernel_log;

const STEP: Duration = Duration::from_millis(10);

const PATIENCE_AFTER_END: Duration = Duration::from_secs(30);

/// How much of a stream is shown when a test fails, in bytes.
const SHOWN: usize = 4096;

/// A command that runs; ended when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    shown: String,
    deadline: Instant,
    stdout: Output,
    stderr: Output,
}

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    shown: String,
    status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

/// What has come of one of its streams.
#[derive(Debug)]
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn new(mut command: Command, shown: String, patience: Duration) -> Running {
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
        let stdout = Output::read(child.stdout.take());
        let stderr = Output::read(child.stderr.take());
        Running { child, shown, deadline: Instant::now() + patience, stdout, stderr }
    }

    /// The pipe to its standard input, once.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal)
            .unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.shown));
    }

    /// Waits until its standard output has `text` in it.
    pub fn says(&mut self, text: &str) {
        while !self.stdout.text().contains(text) {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.stdout.finish();
                if self.stdout.text().contains(text) {
                    return;
                }
                self.stderr.finish();
                panic!("{} ended ({status}) before it said {text:?}\n{}", self.shown, self.said());
            }
            self.check_time(&format!("has not said {text:?}"));
            thread::sleep(STEP);
        }
    }

    /// What it has said so far on its standard output.
    pub fn text(&self) -> String {
        self.stdout.text()
    }

    /// Waits until it has ended.
    pub fn wait(mut self) -> Outcome {
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => self.check_time("has not ended"),
                Err(error) => panic!("cannot wait for {}: {error}", self.shown),
            }
            thread::sleep(STEP);
        };
        self.stdout.finish();
        self.stderr.finish();
        Outcome {
            shown: self.shown.clone(),
            status,
            stdout: self.stdout.take(),
            stderr: String::from_utf8_lossy(&self.stderr.take()).into_owned(),
        }
    }

    fn check_time(&self, what: &str) {
        if Instant::now() > self.deadline {
            panic!("{} {what} in time\n{}{}", self.shown, self.said(), kernel_log::of_running_machines());
        }
    }

    fn said(&self) -> String {
        let shown = |output: &Output| shown(&output.bytes.lock().unwrap());
        format!("--- stdout\n{}\n--- stderr\n{}\n", shown(&self.stdout), shown(&self.stderr))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A machine outlives the command that started it, but not its supervisor.
        if let Ok(None) = self.child.try_wait()
            && let Some(supervisor) = supervisor_of(self).and_then(|pid| Pid::from_raw(pid as i32))
        {
            let _ = kill_process(supervisor, Signal::KILL);
        }
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Output {
    fn read(stream: Option<impl Read + Send + 'static>) -> Output {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let reader = stream.map(|mut stream| {
            let bytes = bytes.clone();
            thread::spawn(move || {
                let mut piece = vec![0; 64 << 10];
                while let Ok(length @ 1..) = stream.read(&mut piece) {
                    bytes.lock().unwrap().extend_from_slice(&piece[..length]);
                }
            })
        });
        Output { bytes, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// Waits for the stream's end, which comes with the process's own unless somebody else has it open.
    fn finish(&mut self) {
        let deadline = Instant::now() + PATIENCE_AFTER_END;
        while self.reader.as_ref().is_some_and(|reader| !reader.is_finished()) {
            assert!(Instant::now() < deadline, "a process that outlived vmrun holds its output open");
            thread::sleep(STEP);
        }
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes.lock().unwrap())
    }
}

impl Outcome {
    /// The exit code; 128+n when a signal ended vmrun itself, as a shell says it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Asserts that it exited with `code`.
    #[track_caller]
    pub fn exits_with(self, code: i32) -> Outcome {
        assert_eq!(
            self.code(),
            code,
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.shown,
            self.text(),
            self.stderr
        );
        self
    }

    #[track_caller]
    pub fn succeeds(self) -> Outcome {
        self.exits_with(0)
    }

    /// Asserts that vmrun refused, with one line of its own that has each of `words` in it.
    #[track_caller]
    pub fn is_refused(self, words: &[&str]) -> Outcome {
        let outcome = self.exits_with(125).complains(words);
        let lines = outcome.stderr.lines().filter(|line| line.starts_with("vmrun: ")).count();
        assert_eq!(lines, 1, "{}: one line, not\n{}", outcome.shown, outcome.stderr);
        outcome
    }

    /// Asserts that standard error has each of `words` in it.
    #[track_caller]
    pub fn complains(self, words: &[&str]) -> Outcome {
        for word in words {
            assert!(
                self.stderr.contains(word),
                "{}: no {word:?} in\n{}",
                self.shown,
                shown(self.stderr.as_bytes())
            );
        }
        self
    }

    /// Asserts that standard output has each of `words` in it.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Outcome {
        for word in words {
            assert!(self.text().contains(word), "{}: no {word:?} in\n{}", self.shown, shown(&self.stdout));
        }
        self
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The value on the line `NAME VALUE` (or `NAME: VALUE`) of standard output.
    #[track_caller]
    pub fn value(&self, name: &str) -> String {
        let text = self.text();
        let line = text.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.strip_prefix(':').unwrap_or(rest).strip_prefix([' ', '\t'])
        });
        line.unwrap_or_else(|| panic!("{}: no line {name:?} in\n{text}\n{}", self.shown, self.stderr))
            .trim()
            .into()
    }

    /// The number on the line `NAME NUMBER…` of standard output, as in /proc/meminfo.
    #[track_caller]
    pub fn number(&self, name: &str) -> u64 {
        let value = self.value(name);
        let digits = value.split_whitespace().next().and_then(|word| word.parse().ok());
        digits.unwrap_or_else(|| panic!("{}: {name} is no number: {value:?}", self.shown))
    }
}

/// The end of what a stream had, as far as it is text.
fn shown(bytes: &[u8]) -> String {
    let (end, omitted) = (&bytes[bytes.len().saturating_sub(SHOWN)..], bytes.len().saturating_sub(SHOWN));
    let omitted = if omitted > 0 { format!("({omitted} bytes before)\n") } else { String::new() };
    let text: String = String::from_utf8_lossy(end)
        .chars()
        .map(|character| if character.is_control() && character != '\n' { '.' } else { character })
        .collect();
    omitted + &text
}

/// The supervisor of the machine that `vmrun` started, as long as both run.
pub fn supervisor_of(vmrun: &Running) -> Option<u32> {
    child_of(vmrun.pid().as_raw_nonzero().get() as u32)
}

/// The monitor of the machine that `vmrun` started, as long as all three run.
pub fn monitor_of(vmrun: &Running) -> Option<u32> {
    child_of(supervisor_of(vmrun)?)
}

/// A process whose parent is `parent`.
pub fn child_of(parent: u32) -> Option<u32> {
    let parent = format!("PPid:\t{parent}");
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        status.lines().any(|line| line == parent).then_some(pid)
    })
}
