//! Attending the emulated machine: its streams, the signals for it, and its end.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use guest_protocol::{GuestMessage, HostMessage, frame};
use signal_hook::consts::{SIGINT, SIGPIPE, SIGTERM, SIGWINCH};

use super::qemu::{Qemu, Sockets, Streams};
use super::relay::{self, Output};
use crate::machine::{KernelLog, Outcome, RawMode, window_size};
use crate::output::warn;
use crate::signals;

/// How many lines of the kernel's log are shown when the machine ends too early.
const LAST_LINES: usize = 12;

/// As many SIGINTs or SIGTERMs as say that the user means it: the machine is ended.
const IMPATIENCE: usize = 3;

/// How long the machine may take to write back what is shared and power off.
const FAREWELL: Duration = Duration::from_secs(30);

/// QEMU's complaint about each feature of the processor model that TCG does not emulate.
const EXPECTED: &str = "TCG doesn't support requested feature";

/// Something that happened, from whichever side.
enum Happening {
    Guest(GuestMessage),
    /// The control stream has ended: the machine is gone.
    Gone,
    Signal(i32),
    /// Nobody reads our standard output any more.
    Unread,
    Serial(Vec<u8>),
}

/// A machine that is being attended.
pub struct Session {
    qemu: Qemu,
    control: UnixStream,
    /// Open to the end: when it is closed, QEMU drops what the machine has not taken yet.
    _input: UnixStream,
    happenings: Receiver<Happening>,
    outputs: Vec<Output>,
    terminal: bool,
    raw_mode: Option<RawMode>,
    console: KernelLog,
    complaints: Option<thread::JoinHandle<Vec<String>>>,
    impatience: usize,
}

impl Session {
    /// Begins to copy the streams and to pass on signals.
    pub fn new(mut qemu: Qemu, sockets: Sockets) -> Result<Session> {
        let (happen, happenings) = channel();
        let signalled = happen.clone();
        signals::forward(move |signal| signalled.send(Happening::Signal(signal)).is_ok())?;
        let complaints = qemu.complaints().map(|stderr| thread::spawn(move || read_complaints(stderr)));
        read_messages(sockets.control.try_clone()?, happen.clone());
        read_serial(sockets.serial, happen.clone());
        let unread = move || drop(happen.send(Happening::Unread));
        let (input, outputs, raw_mode, terminal) = match sockets.streams {
            Streams::Terminal(port) => {
                let raw_mode = RawMode::enter()?;
                (port.try_clone()?, vec![Output::start(port, io::stdout(), unread)?], raw_mode, true)
            }
            Streams::Three { stdin, stdout, stderr } => {
                let outputs = vec![
                    Output::start(stdout, io::stdout(), unread)?,
                    Output::start(stderr, io::stderr(), || ())?,
                ];
                (stdin, outputs, None, false)
            }
        };
        relay::start_input(input.try_clone()?);
        Ok(Session {
            qemu,
            _input: input,
            control: sockets.control,
            happenings,
            outputs,
            terminal,
            raw_mode,
            console: KernelLog::default(),
            complaints,
            impatience: 0,
        })
    }

    /// Attends the machine until its command has ended, and returns the command's exit code.
    pub fn until_the_end(mut self) -> Result<u8> {
        while let Ok(happening) = self.happenings.recv() {
            match happening {
                Happening::Guest(message) => return self.farewell(message),
                Happening::Gone => return Err(self.gone()),
                Happening::Signal(signal) => {
                    if let Some(code) = self.signal(signal) {
                        return Ok(code);
                    }
                }
                Happening::Unread => self.send(&HostMessage::Signal(SIGPIPE as u8)),
                Happening::Serial(bytes) => self.console.write(&bytes),
            }
        }
        Err(self.gone())
    }

    /// The guest's last word: all output is written, the machine ends, the exit code is known.
    fn farewell(mut self, message: GuestMessage) -> Result<u8> {
        let ran = matches!(message, GuestMessage::Exited(_));
        for output in self.outputs.drain(..) {
            match if ran { output.finish() } else { output.abandon() } {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    warn(&format!("vmrun: cannot write the command's output: {error}"));
                }
                _ => {}
            }
        }
        self.raw_mode = None;
        self.send(&HostMessage::Close);
        self.await_end();
        let outcome = Outcome::of(message, "the emulated machine");
        if let Some(notice) = outcome.notice {
            warn(&format!("vmrun: {notice}"));
        }
        Ok(outcome.code)
    }

    /// Waits for QEMU to end by itself; after too long a time it is killed when this is dropped.
    fn await_end(&mut self) {
        let deadline = Instant::now() + FAREWELL;
        loop {
            match self.happenings.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Happening::Gone) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    return warn("vmrun: the emulated machine did not power off, and was stopped");
                }
                Ok(_) => {}
            }
        }
    }

    fn send(&self, message: &HostMessage) {
        // A machine that is gone needs no telling; that it is gone is noticed by reading.
        let _ = frame::write(&self.control, message);
    }

    fn signal(&mut self, signal: i32) -> Option<u8> {
        match signal {
            SIGWINCH if self.terminal => self.send(&HostMessage::Resize(window_size())),
            SIGWINCH => {}
            _ => self.send(&HostMessage::Signal(signal as u8)),
        }
        if [SIGINT, SIGTERM].contains(&signal) {
            self.impatience += 1;
            if self.impatience >= IMPATIENCE {
                self.raw_mode = None;
                warn(&format!("vmrun: ended the emulated machine after {IMPATIENCE} signals"));
                return Some(128 + signal as u8);
            }
        }
        None
    }

    /// Why the machine ended before its command did, as far as anybody has said.
    fn gone(mut self) -> anyhow::Error {
        self.raw_mode = None;
        while let Ok(happening) = self.happenings.try_recv() {
            if let Happening::Serial(bytes) = happening {
                self.console.write(&bytes);
            }
        }
        for line in self.console.last_lines(LAST_LINES) {
            warn(&format!("kernel: {line}"));
        }
        let ended = self.qemu_end();
        drop(self.qemu);
        let complaint = self.complaints.and_then(|reader| reader.join().ok()?.pop());
        match complaint {
            Some(complaint) => {
                anyhow!("the emulated machine ended before its command did ({ended}): {complaint}")
            }
            None => anyhow!("the emulated machine ended before its command did ({ended})"),
        }
    }

    fn qemu_end(&mut self) -> String {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            match self.qemu.ended() {
                Ok(Some(status)) => return format!("QEMU: {status}"),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                _ => return "QEMU still runs".into(),
            }
        }
    }
}

fn read_messages(mut control: UnixStream, happen: Sender<Happening>) {
    thread::spawn(move || {
        while let Ok(message) = frame::read::<GuestMessage>(&mut control) {
            if happen.send(Happening::Guest(message)).is_err() {
                return;
            }
        }
        let _ = happen.send(Happening::Gone);
    });
}

fn read_serial(mut serial: UnixStream, happen: Sender<Happening>) {
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = serial.read(&mut piece) {
            if happen.send(Happening::Serial(piece[..length].to_vec())).is_err() {
                return;
            }
        }
    });
}

fn read_complaints(stderr: impl Read) -> Vec<String> {
    let lines = BufReader::new(stderr.take(64 << 10)).split(b'\n').map_while(Result::ok);
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.filter(|line| !line.contains(EXPECTED) && !line.trim().is_empty()).collect()
}
