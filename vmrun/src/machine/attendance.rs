//! Attending a machine: starting its monitor, carrying streams and signals, and telling how it
//! ended.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, bail};
use guest_protocol::{GuestMessage, Hello, HostMessage, Stamp, Stream, frame};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals;
use vmm::{End, MachineSpec, Trouble};

use super::event::{Event, now};
use super::kernel_log::KernelLog;
use super::monitor::Monitor;
use super::outcome::exit_code;
use super::record::Record;
use super::streams::{connect, copy_input, copy_output, hellos};
use super::terminal::{RawMode, window_size};
use super::timing::Timing;
use crate::output::warn;

/// How many lines of the kernel's log are shown when it panics.
const PANIC_LINES: usize = 12;

/// As many SIGINTs or SIGTERMs as say that the user means it: the machine is ended.
const IMPATIENCE: usize = 3;

/// After its command has ended, a machine gets this long to hand over its kernel's log.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait for what an ended monitor has left in its pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The longest kernel log that is kept, in bytes.
const MAX_LOG: u64 = 4 << 20;

/// Something that happened, from whichever side.
enum Happening {
    Monitor(Event),
    MonitorGone,
    Guest(GuestMessage),
    Signal(i32),
}

/// How one run is attended.
pub struct Attendance {
    /// The process has a terminal.
    pub terminal: bool,
    /// Standard input is forwarded.
    pub stdin: bool,
    pub log: KernelLog,
    /// Ask the guest for its kernel's log before it goes.
    pub keep_log: bool,
    /// The start's moments, when a chart of them is wanted.
    pub timing: Option<Timing>,
}

impl Attendance {
    /// Runs the machine to its end and returns the exit code for it.
    pub fn attend(self, spec: &MachineSpec, record: &Record) -> Result<u8> {
        let (happen, happenings) = channel();
        forward_signals(happen.clone())?;
        let (monitor, events) = Monitor::start(spec)?;
        thread::spawn({
            let happen = happen.clone();
            move || read_events(events, &happen)
        });
        let mut attending = Attending {
            manner: self,
            socket: record.socket(),
            happen,
            control: None,
            outputs: Vec::new(),
            first_output: Arc::default(),
            raw_mode: None,
            impatience: 0,
            troubles: Vec::new(),
        };
        let code = attending.until_the_end(&happenings);
        attending.raw_mode = None;
        drop(monitor);
        attending.tell_troubles(&happenings);
        code
    }
}

/// A machine that is being attended.
struct Attending {
    manner: Attendance,
    socket: PathBuf,
    happen: Sender<Happening>,
    /// The control stream, from when guest-init listens.
    control: Option<UnixStream>,
    outputs: Vec<JoinHandle<io::Result<()>>>,
    /// When the process's first byte arrived (see [`now`]); 0 before that.
    first_output: Arc<AtomicU64>,
    raw_mode: Option<RawMode>,
    impatience: usize,
    /// To be told when the command has the terminal no more.
    troubles: Vec<Trouble>,
}

impl Attending {
    fn until_the_end(&mut self, happenings: &Receiver<Happening>) -> Result<u8> {
        // Each sender outlives the loop, so the channel cannot close before it.
        while let Ok(happening) = happenings.recv() {
            match happening {
                Happening::Monitor(event) => self.event(event)?,
                Happening::MonitorGone => bail!("the monitor process died: see `dmesg` for why"),
                Happening::Guest(message) => return self.farewell(message),
                Happening::Signal(signal) => {
                    if let Some(code) = self.signal(signal) {
                        return Ok(code);
                    }
                }
            }
        }
        bail!("nothing more can happen to the machine")
    }

    fn event(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Started { at } => {
                if let Some(timing) = &mut self.manner.timing {
                    timing.started(at);
                }
            }
            Event::Stamp { byte, at } => {
                let Some(stamp) = Stamp::from_byte(byte) else { return Ok(()) };
                if let Some(timing) = &mut self.manner.timing {
                    timing.stamp(stamp, at);
                }
                if stamp == Stamp::Listening && self.control.is_none() {
                    self.connect()?;
                }
            }
            Event::Serial(bytes) => self.manner.log.write(&bytes),
            Event::Trouble(trouble) => self.troubles.push(trouble),
            Event::Ended { end, jail_gaps } => {
                for gap in jail_gaps {
                    warn(&format!("vmrun: the monitor ran less confined than it should: {gap}"));
                }
                return self.ended_early(end);
            }
            Event::Failed { message } => bail!(message),
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<()> {
        let hellos = hellos(self.manner.terminal, self.manner.stdin);
        let mut connections = connect(&self.socket, &hellos)?;
        let control = connections.remove(0);
        let reader = control.try_clone()?;
        let happen = self.happen.clone();
        thread::spawn(move || {
            while let Ok(message) = frame::read::<GuestMessage>(&reader) {
                let _ = happen.send(Happening::Guest(message));
            }
        });
        self.control = Some(control);
        if self.manner.terminal && self.manner.stdin {
            self.raw_mode = RawMode::enter()?;
        }
        for (hello, connection) in hellos[1..].iter().zip(connections) {
            let Hello::Stream(stream) = hello else { continue };
            match stream {
                Stream::Stdin => drop(thread::spawn(move || copy_input(connection, true))),
                Stream::Stderr => self.spawn_output(connection, io::stderr().as_fd())?,
                Stream::Terminal => {
                    if self.manner.stdin {
                        let input = connection.try_clone()?;
                        thread::spawn(move || copy_input(input, false));
                    }
                    self.spawn_output(connection, io::stdout().as_fd())?;
                }
                Stream::Stdout => self.spawn_output(connection, io::stdout().as_fd())?,
                Stream::KernelLog => {}
            }
        }
        Ok(())
    }

    /// Copies to a duplicate of `to`, unbuffered: what the guest wrote as one piece is seen at once.
    fn spawn_output(&mut self, connection: UnixStream, to: BorrowedFd<'_>) -> Result<()> {
        let to = File::from(to.try_clone_to_owned()?);
        let first_output = self.first_output.clone();
        self.outputs.push(thread::spawn(move || {
            copy_output(connection, to, |_| {
                if first_output.load(Ordering::Relaxed) == 0 {
                    first_output.store(now(), Ordering::Relaxed);
                }
            })
        }));
        Ok(())
    }

    /// The guest's last word: all output is written, then the exit code follows from it.
    fn farewell(&mut self, message: GuestMessage) -> Result<u8> {
        for output in self.outputs.drain(..) {
            match output.join() {
                Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                    warn(&format!("vmrun: cannot write the command's output: {error}"));
                }
                _ => {}
            }
        }
        self.raw_mode = None;
        if self.manner.keep_log {
            self.save_kernel_log();
        }
        if let Some(timing) = &mut self.manner.timing {
            timing.first_output(self.first_output.load(Ordering::Relaxed));
            eprint!("{}", timing.chart());
        }
        exit_code(message, "the machine")
    }

    /// Has the machine end, and writes what its kernel has logged until then to the record.
    fn save_kernel_log(&mut self) {
        let Ok(mut connections) = connect(&self.socket, &[Hello::Stream(Stream::KernelLog)]) else { return };
        let Some(stream) = connections.pop() else { return };
        if let Some(control) = &self.control {
            let _ = frame::write(control, &HostMessage::Close);
        }
        let _ = stream.set_read_timeout(Some(LOG_PATIENCE));
        for line in BufReader::new(stream.take(MAX_LOG)).split(b'\n').map_while(Result::ok) {
            self.manner.log.write_record(&String::from_utf8_lossy(&line));
        }
    }

    fn signal(&mut self, signal: i32) -> Option<u8> {
        let message = match signal {
            SIGWINCH if self.manner.terminal => HostMessage::Resize(window_size()),
            SIGWINCH => return None,
            _ => HostMessage::Signal(signal as u8),
        };
        if let Some(control) = &self.control {
            let _ = frame::write(control, &message);
        } else if [SIGINT, SIGTERM, SIGHUP, SIGQUIT].contains(&signal) {
            // There is no process yet that could have a say in it.
            return Some(128 + signal as u8);
        }
        if [SIGINT, SIGTERM].contains(&signal) {
            self.impatience += 1;
            if self.impatience >= IMPATIENCE {
                self.raw_mode = None;
                warn(&format!("vmrun: ended the machine after {IMPATIENCE} signals"));
                return Some(128 + signal as u8);
            }
        }
        None
    }

    /// Says what went wrong while the machine ran. The monitor has ended: what it has said last is on its way.
    fn tell_troubles(&mut self, happenings: &Receiver<Happening>) {
        while let Ok(happening) = happenings.recv_timeout(LAST_WORDS) {
            match happening {
                Happening::Monitor(Event::Trouble(trouble)) => self.troubles.push(trouble),
                Happening::MonitorGone => break,
                _ => {}
            }
        }
        for trouble in &self.troubles {
            warn(&match trouble {
                Trouble::PmemWrite => {
                    "vmrun: the guest wrote to its read-only rootfs; nothing was changed".to_owned()
                }
                Trouble::DiskRead { disk, cause } => {
                    format!("vmrun: reading the machine's disk {disk} failed: {cause}")
                }
                Trouble::DiskWrite { disk, cause } => {
                    format!("vmrun: writing to the machine's disk {disk} failed: {cause}")
                }
            });
        }
    }

    /// The guest ended before its command did.
    fn ended_early(&mut self, end: End) -> Result<()> {
        self.raw_mode = None;
        if end == End::Panic {
            for line in self.manner.log.last_lines(PANIC_LINES) {
                warn(&format!("kernel: {line}"));
            }
        }
        match end {
            End::PowerOff => bail!("the guest powered itself off before its command ended"),
            End::Reboot => bail!("the guest rebooted before its command ended"),
            End::Panic => bail!("the guest's kernel panicked"),
            End::TripleFault => bail!("the guest's processor gave up (triple fault)"),
            End::Fault(what) => bail!("the guest did what no processor can go on after: {what}"),
            End::Stopped => bail!("the machine was stopped"),
        }
    }
}

fn read_events(mut events: impl Read, happen: &Sender<Happening>) {
    while let Ok(event) = frame::read::<Event>(&mut events) {
        if happen.send(Happening::Monitor(event)).is_err() {
            return;
        }
    }
    let _ = happen.send(Happening::MonitorGone);
}

fn forward_signals(happen: Sender<Happening>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH])?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if happen.send(Happening::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}
