//! An attached client: the machine's streams are this process's, its signals the machine's.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use anyhow::{Result, bail};
use guest_protocol::{Stamp, Stream, frame, port};
use signal_hook::consts::{SIGINT, SIGTERM, SIGWINCH};

use super::detach_keys::{DetachKeys, Detector};
use super::greet;
use crate::machine::{
    MachineDirectory, RawMode, Timing, copy_output, fill_random, monotonic_time, window_size,
};
use crate::output::warn;
use crate::signals;
use crate::supervisor::protocol::{Ended, FromClient, Request, ToClient};

/// As many SIGINTs or SIGTERMs as say that the user means it: the process is killed.
const IMPATIENCE: usize = 3;

const KILL: u8 = 9;

/// How much is read of standard input at a time, in bytes.
const PIECE: usize = 64 << 10;

/// What a client wants of a machine.
#[derive(Debug, Default)]
pub struct Attachment {
    /// The process has a terminal.
    pub terminal: bool,
    /// Standard input is forwarded.
    pub stdin: bool,
    /// The process's output is shown.
    pub output: bool,
    /// Signals are forwarded.
    pub signals: bool,
    pub detach_keys: DetachKeys,
    /// What is said, with `--verbose`, before what was decided about the machine.
    pub verbose: Option<String>,
    /// The start's moments, when a chart of them is wanted.
    pub timing: Option<Timing>,
}

/// How a client and its machine part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// The machine has ended, with this exit code.
    Ended(u8),
    /// The user left it running.
    Detached,
    /// Its process runs; see [`Session::until_started`].
    Started,
}

/// Something that happened, from whichever side.
enum Happening {
    Told(ToClient),
    /// The supervisor is gone.
    Gone,
    Signal(i32),
    /// The detach keys were typed.
    Detach,
    /// Nobody reads this output of ours any more.
    Unread(Stream),
}

/// A client that is attached.
pub struct Session {
    attachment: Attachment,
    control: UnixStream,
    happenings: Receiver<Happening>,
    outputs: Vec<JoinHandle<io::Result<()>>>,
    /// When the process's first byte arrived (see [`monotonic_time`]); 0 before that.
    first_output: Arc<AtomicU64>,
    raw_mode: Option<RawMode>,
    impatience: usize,
    /// To be said when the process has the terminal no more.
    notices: Vec<String>,
}

impl Session {
    /// Attaches to a machine whose supervisor runs, and lets its output flow.
    pub fn begin(machine: &MachineDirectory, mut attachment: Attachment) -> Result<Session> {
        if let Some(timing) = &mut attachment.timing {
            timing.clock_ahead(machine.place().clock_ahead());
        }
        let socket = machine.control_socket()?;
        let mut token = [0; 8];
        fill_random(&mut token)?;
        let token = u64::from_ne_bytes(token);
        let (happen, happenings) = channel();
        let first_output = Arc::new(AtomicU64::new(0));
        let mut outputs = Vec::new();
        let (mut input, mut connected) = (None, 0);
        let streams: &[Stream] = match attachment.terminal {
            true => &[Stream::Terminal],
            false => &[Stream::Stdout, Stream::Stderr, Stream::Stdin],
        };
        for &stream in streams {
            let (reads, writes) =
                (stream != Stream::Stdin && attachment.output, stream.is_input() && attachment.stdin);
            if !reads && !writes {
                continue;
            }
            let connection = greet(&socket, &Request::Stream { token, stream })?;
            connected += 1;
            if writes {
                input = Some(connection.try_clone()?);
            }
            if reads {
                let to = if stream == Stream::Stderr {
                    io::stderr().as_fd().try_clone_to_owned()
                } else {
                    io::stdout().as_fd().try_clone_to_owned()
                };
                outputs.push(show(connection, File::from(to?), stream, &happen, &first_output));
            }
        }
        let control = greet(&socket, &Request::Attach { token, streams: connected })?;
        read_control(control.try_clone()?, happen.clone());
        let signalled = happen.clone();
        let pass = move |signal| signalled.send(Happening::Signal(signal)).is_ok();
        if attachment.signals {
            signals::forward(pass)?;
        } else if attachment.terminal && attachment.output {
            signals::forward_resizing(pass)?;
        }
        let raw_mode = if attachment.terminal && attachment.stdin { RawMode::enter()? } else { None };
        if attachment.terminal {
            frame::write(&control, &FromClient::Resize(window_size()))?;
        }
        if let Some(connection) = input {
            let detector = attachment.terminal.then(|| Detector::new(&attachment.detach_keys));
            thread::spawn(move || read_input(&connection, detector, &happen));
        }
        frame::write(&control, &FromClient::Begin)?;
        Ok(Session {
            attachment,
            control,
            happenings,
            outputs,
            first_output,
            raw_mode,
            impatience: 0,
            notices: Vec::new(),
        })
    }

    /// Attends the machine until it ends or the user leaves.
    pub fn until_parted(mut self) -> Result<Parting> {
        self.attend(false)
    }

    /// Attends the machine until its process runs, or cannot.
    pub fn until_started(mut self) -> Result<Parting> {
        self.attend(true)
    }

    fn attend(&mut self, leave_when_started: bool) -> Result<Parting> {
        // Each sender outlives the loop, so the channel cannot close before it.
        while let Ok(happening) = self.happenings.recv() {
            match happening {
                Happening::Told(ToClient::Planned { machine, rootfs }) => {
                    if let Some(timing) = &mut self.attachment.timing {
                        timing.rootfs(rootfs);
                    }
                    if let Some(before) = &self.attachment.verbose {
                        warn(&format!("{before}: {machine}"));
                    }
                }
                Happening::Told(ToClient::Started { at }) => {
                    if let Some(timing) = &mut self.attachment.timing {
                        timing.started(at);
                    }
                }
                Happening::Told(ToClient::Stamp { byte, at }) => {
                    let Some(stamp) = Stamp::from_byte(byte) else { continue };
                    if let Some(timing) = &mut self.attachment.timing {
                        timing.stamp(stamp, at);
                    }
                    if leave_when_started && stamp == Stamp::ProcessStarted {
                        return Ok(Parting::Started);
                    }
                }
                Happening::Told(ToClient::Console(bytes)) => drop(io::stderr().write_all(&bytes)),
                Happening::Told(ToClient::Notice(notice)) => self.notices.push(notice),
                Happening::Told(ToClient::Ended(ended)) => return Ok(self.ended(ended)),
                Happening::Gone => {
                    self.raw_mode = None;
                    bail!("the machine's supervisor was killed, and the machine with it");
                }
                Happening::Signal(signal) => self.signal(signal),
                Happening::Detach => {
                    self.raw_mode = None;
                    return Ok(Parting::Detached);
                }
                Happening::Unread(stream) => self.say(&FromClient::Refuse(stream)),
            }
        }
        bail!("nothing more can happen to the machine")
    }

    /// All output has been sent: it is shown to its end.
    fn ended(&mut self, ended: Ended) -> Parting {
        let mut code = ended.code;
        for output in self.outputs.drain(..) {
            match output.join() {
                Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                    warn(&format!("vmrun: cannot write the command's output: {error}"));
                    code = crate::FAILED;
                }
                _ => {}
            }
        }
        self.raw_mode = None;
        for notice in &self.notices {
            warn(&match notice.starts_with("kernel: ") {
                true => notice.clone(),
                false => format!("vmrun: {notice}"),
            });
        }
        if let Some(timing) = &mut self.attachment.timing {
            timing.first_output(self.first_output.load(Ordering::Relaxed));
            let _ = io::stderr().write_all(timing.chart().to_string().as_bytes());
        }
        Parting::Ended(code)
    }

    fn say(&self, message: &FromClient) {
        // A supervisor that is gone is noticed by reading.
        let _ = frame::write(&self.control, message);
    }

    fn signal(&mut self, signal: i32) {
        if signal == SIGWINCH {
            if self.attachment.terminal {
                self.say(&FromClient::Resize(window_size()));
            }
            return;
        }
        if [SIGINT, SIGTERM].contains(&signal) {
            self.impatience += 1;
            if self.impatience >= IMPATIENCE {
                self.notices.push(format!("killed the process after {IMPATIENCE} signals"));
                return self.say(&FromClient::Signal(KILL));
            }
        }
        self.say(&FromClient::Signal(signal as u8));
    }
}

/// Copies to a duplicate of our own stream, unbuffered: what the guest wrote as one piece is seen at once.
fn show(
    from: UnixStream,
    to: File,
    stream: Stream,
    happen: &Sender<Happening>,
    first_output: &Arc<AtomicU64>,
) -> JoinHandle<io::Result<()>> {
    let (happen, first_output) = (happen.clone(), first_output.clone());
    thread::spawn(move || {
        let shown = copy_output(from, to, |_| {
            if first_output.load(Ordering::Relaxed) == 0 {
                first_output.store(monotonic_time(), Ordering::Relaxed);
            }
        });
        if shown.is_err() {
            let _ = happen.send(Happening::Unread(stream));
        }
        shown
    })
}

fn read_input(to: &UnixStream, mut detector: Option<Detector>, happen: &Sender<Happening>) {
    let mut from = io::stdin().lock();
    let mut piece = vec![0; PIECE];
    loop {
        let read = match from.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A terminal that is gone has said its last.
            Err(_) | Ok(0) => break,
            Ok(length) => &piece[..length],
        };
        let sent = match &mut detector {
            None => port::write(to, read),
            Some(detector) => {
                let (passed, detached) = detector.take(read);
                let sent = port::write(to, &passed);
                if detached {
                    let _ = happen.send(Happening::Detach);
                    return;
                }
                sent
            }
        };
        if sent.is_err() {
            return;
        }
    }
    // A terminal's end is said by a key.
    if detector.is_none() {
        let _ = port::end(to);
    }
}

fn read_control(control: UnixStream, happen: Sender<Happening>) {
    thread::spawn(move || {
        while let Ok(message) = frame::read::<ToClient>(&control) {
            if happen.send(Happening::Told(message)).is_err() {
                return;
            }
        }
        let _ = happen.send(Happening::Gone);
    });
}
