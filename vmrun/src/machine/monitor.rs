//! The monitor process: vmrun, executed again, with one machine to run and nothing else.
//!
//! It is given its [`MachineSpec`] (postcard) on standard input and reports [`Event`]s on standard
//! output. Everything a machine needs is opened before the guest's first instruction; then the
//! process is jailed (see the `vmm` crate).

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use guest_protocol::{Stamp, frame};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use vmm::{EventFd, Machine, MachineSpec, Observer, Trouble};

use super::event::{Event, now};
use super::stamp_lines::StampLines;

/// The argument that makes a vmrun a monitor.
pub const WORD: &str = "monitor";

/// The largest specification that is accepted, in bytes: kernel arguments and configuration, with
/// the process's environment in it.
const MAX_SPEC: u64 = 8 << 20;

/// The longest piece of serial output in one event.
const SERIAL_PIECE: usize = 16 << 10;

/// A running monitor, as seen by the process that started it. Dropping it ends the machine.
pub struct Monitor {
    child: Child,
}

impl Monitor {
    /// Starts a monitor for `spec`; the reader yields its [`Event`]s as frames.
    pub fn start(spec: &MachineSpec) -> Result<(Monitor, impl Read + Send + use<>)> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("vmrun").arg(WORD).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Signals of the terminal are for the process in the guest, and get there by vmrun.
        command.process_group(0);
        let mut child = command.spawn().context("cannot start the monitor process")?;
        let spec = frame::encode(spec)?;
        let mut input = child.stdin.take().context("the monitor has no standard input")?;
        let sent = input.write_all(&spec);
        drop(input);
        let events = child.stdout.take().context("the monitor has no standard output")?;
        let monitor = Monitor { child };
        sent.context("the monitor ended before it read its specification")?;
        Ok((monitor, BufReader::new(events)))
    }
}

impl Monitor {
    /// The process's ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // Nothing of the guest is worth keeping at this point; a monitor that has ended already
        // makes both calls fail, as they may.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of the monitor process.
pub fn main() -> Result<u8> {
    // Without its starter a machine has no purpose, and nobody who would end it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if io::IsTerminal::is_terminal(&io::stdin()) {
        bail!("`vmrun monitor` is started by vmrun itself; you want `vmrun run`");
    }
    let mut spec = Vec::new();
    io::stdin().take(MAX_SPEC).read_to_end(&mut spec).context("cannot read the specification")?;
    let spec: MachineSpec = frame::decode(&spec).context("the specification is malformed")?;
    let events = Arc::new(Events::new()?);
    // Each of the guest's streams is a descriptor here.
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
    // Nobody stops a monitor but by ending its process.
    let never = EventFd::new(0)?;
    let outcome = Machine::new(spec).and_then(|machine| {
        events.send(&Event::Started { at: now() });
        machine.run(events.clone(), never)
    });
    events.send(&match outcome {
        Ok(report) => Event::Ended { end: report.end, jail_gaps: report.jail_gaps },
        Err(error) => Event::Failed { message: chain(&error) },
    });
    Ok(0)
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        source = cause.source();
    }
    line
}

/// The way to the starter, shared by the threads of the monitor.
struct Events {
    way: Mutex<File>,
    /// How far the guest has come.
    stamp: AtomicU8,
    lines: Mutex<StampLines>,
}

impl Events {
    fn new() -> Result<Events> {
        let way = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Events { way: Mutex::new(way), stamp: 0.into(), lines: Mutex::default() })
    }

    fn send(&self, event: &Event) {
        // A reader that is gone has ended this process already, by its death signal.
        if let Ok(mut file) = self.way.lock() {
            let _ = frame::write(&mut *file, event);
        }
    }
}

impl Observer for Events {
    /// A guest comes a step further each time; whatever else it writes is nothing that anybody waits for.
    fn stamp(&self, byte: u8) {
        if Stamp::from_byte(byte).is_some() && self.stamp.fetch_max(byte, Ordering::AcqRel) < byte {
            self.send(&Event::Stamp { byte, at: now() });
        }
    }

    fn serial(&self, bytes: &[u8]) {
        for piece in bytes.chunks(SERIAL_PIECE) {
            self.send(&Event::Serial(piece.to_owned()));
        }
        let stamps = self.lines.lock().map(|mut lines| lines.read(bytes)).unwrap_or_default();
        stamps.into_iter().for_each(|stamp| self.stamp(stamp));
    }

    fn trouble(&self, trouble: Trouble) {
        self.send(&Event::Trouble(trouble));
    }
}
