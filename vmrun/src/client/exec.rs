//! One more process in a machine: its streams and signals carried, its end told.
//!
//! All of it is one loop without threads: an exec is to cost little more than what the guest does for it.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use anyhow::{Result, bail};
use guest_protocol::frame::{self, MAX_REQUEST};
use guest_protocol::{ExecRequest, GuestMessage, Hello, HostMessage, Stream};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use super::detach_keys::{DetachKeys, Detector};
use crate::machine::{Outcome, RawMode, connect, fill_random, window_size};
use crate::output::warn;
use crate::place::Socket;

/// How much is read at a time, in bytes.
const PIECE: usize = 64 << 10;

/// What a pipe that is ready takes without waiting.
const SURE_PIECE: usize = 4096;

/// As many SIGINTs or SIGTERMs as say that the user means it: the command is left alone.
const IMPATIENCE: usize = 3;

/// The exit code when the machine ends, and the command with it.
const KILLED: u8 = 137;

/// Runs `request` in the machine whose guest-init is reached at `socket`; the result is the exit code. At a
/// terminal, `detach_keys` leave the command running.
pub fn exec(socket: &Socket, request: &ExecRequest, detach_keys: &DetachKeys) -> Result<u8> {
    let streams = streams(request);
    let mut token = [0; 8];
    fill_random(&mut token)?;
    let token = u64::from_le_bytes(token);
    let mut hellos = vec![Hello::Exec { token }];
    hellos.extend(streams.iter().map(|&stream| Hello::ExecStream { token, stream }));
    let mut connections = connect(socket, &hellos)?;
    let control = connections.remove(0);
    match frame::write_within(MAX_REQUEST, &control, request) {
        Err(frame::Error::TooLong(_)) => bail!("the command's arguments and variables exceed 4 MiB"),
        sent => sent?,
    }
    let mut exec = Exec {
        control,
        received: Vec::new(),
        detached: request.detached,
        outputs: Vec::new(),
        input: None,
        signals: signals()?,
        is_terminal: request.process.terminal.is_some(),
        detector: request.process.terminal.map(|_| Detector::new(detach_keys)),
        raw_mode: None,
        impatience: 0,
        ending: None,
        unwritable: None,
    };
    for (stream, connection) in streams.into_iter().zip(connections) {
        exec.take(stream, connection, request.process.stdin)?;
    }
    exec.control.set_nonblocking(true)?;
    exec.until_the_end()
}

/// The streams of what `request` starts.
fn streams(request: &ExecRequest) -> Vec<Stream> {
    match &request.process {
        _ if request.detached => Vec::new(),
        process if process.terminal.is_some() => vec![Stream::Terminal],
        process if process.stdin => vec![Stream::Stdout, Stream::Stderr, Stream::Stdin],
        _ => vec![Stream::Stdout, Stream::Stderr],
    }
}

fn signals() -> Result<SignalDelivery<UnixStream, SignalOnly>> {
    let (read, write) = UnixStream::pair()?;
    let wanted = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH];
    Ok(SignalDelivery::with_pipe(read, write, SignalOnly, wanted)?)
}

struct Exec {
    control: UnixStream,
    received: Vec<u8>,
    detached: bool,
    outputs: Vec<Output>,
    input: Option<Input>,
    signals: SignalDelivery<UnixStream, SignalOnly>,
    is_terminal: bool,
    detector: Option<Detector>,
    raw_mode: Option<RawMode>,
    impatience: usize,
    /// What is to be told when all output is written.
    ending: Option<Ending>,
    /// Why output could not be written, other than that its reader has left.
    unwritable: Option<Errno>,
}

enum Ending {
    /// The guest's last word.
    Told(GuestMessage),
    /// It runs, and is left to itself.
    Detached,
    /// Nothing more will be heard.
    Lost,
}

/// An output of the process, on its way to one of ours.
struct Output {
    stream: Stream,
    /// Until it has ended.
    from: Option<UnixStream>,
    to: BorrowedFd<'static>,
    /// A pipe takes no more than this without waiting.
    piece: usize,
    pending: Vec<u8>,
}

/// Our standard input, on its way to the process.
struct Input {
    to: UnixStream,
    pending: Vec<u8>,
    is_over: bool,
    closes: bool,
}

#[derive(Clone, Copy)]
enum Source {
    Control,
    Signals,
    From(usize),
    To(usize),
    Input,
    Process,
}

impl Exec {
    fn take(&mut self, stream: Stream, connection: UnixStream, with_stdin: bool) -> Result<()> {
        connection.set_nonblocking(true)?;
        match stream {
            Stream::Stdin => self.input = Some(Input::new(connection, true)),
            Stream::Stderr => self.outputs.push(Output::new(stream, connection, rustix::stdio::stderr())),
            Stream::Stdout => self.outputs.push(Output::new(stream, connection, rustix::stdio::stdout())),
            _ => {
                if with_stdin {
                    self.raw_mode = RawMode::enter()?;
                    self.input = Some(Input::new(connection.try_clone()?, false));
                }
                self.outputs.push(Output::new(stream, connection, rustix::stdio::stdout()));
            }
        }
        Ok(())
    }

    fn until_the_end(mut self) -> Result<u8> {
        loop {
            for source in self.wait()? {
                match source {
                    Source::Control => self.hear()?,
                    Source::Signals => {
                        if let Some(code) = self.pass_signals() {
                            return Ok(code);
                        }
                    }
                    Source::From(index) => self.outputs[index].read(),
                    Source::To(index) => {
                        if let Err(error) = self.outputs[index].write() {
                            self.lose(index, error);
                        }
                    }
                    Source::Input => self.read_input(),
                    Source::Process => self.write_input(),
                }
            }
            if self.ending.is_some() && self.outputs.iter().all(Output::is_over) {
                return self.farewell();
            }
        }
    }

    fn wait(&self) -> Result<Vec<Source>> {
        let mut wanted = vec![(Source::Signals, self.signals.get_read().as_fd(), PollFlags::IN)];
        if self.ending.is_none() {
            wanted.push((Source::Control, self.control.as_fd(), PollFlags::IN));
        }
        for (index, output) in self.outputs.iter().enumerate() {
            match &output.from {
                _ if !output.pending.is_empty() => {
                    wanted.push((Source::To(index), output.to, PollFlags::OUT))
                }
                Some(from) => wanted.push((Source::From(index), from.as_fd(), PollFlags::IN)),
                None => {}
            }
        }
        match &self.input {
            Some(input) if !input.pending.is_empty() => {
                wanted.push((Source::Process, input.to.as_fd(), PollFlags::OUT));
            }
            Some(input) if !input.is_over => {
                wanted.push((Source::Input, rustix::stdio::stdin(), PollFlags::IN));
            }
            _ => {}
        }
        let mut fds: Vec<PollFd<'_>> =
            wanted.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = wanted.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((source, ..), _)| *source).collect())
    }

    fn hear(&mut self) -> Result<()> {
        let mut chunk = [0; 4096];
        match (&self.control).read(&mut chunk) {
            Ok(count) if count > 0 => self.received.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => self.ending = Some(Ending::Lost),
        }
        while let Some(message) = frame::take::<GuestMessage>(&mut self.received)? {
            match message {
                GuestMessage::Started if self.detached => self.ending = Some(Ending::Detached),
                GuestMessage::Started => {}
                message => {
                    if !matches!(message, GuestMessage::Exited(_)) {
                        // There was no process that could have written anything.
                        self.outputs.iter_mut().for_each(Output::end);
                    }
                    self.input = None;
                    self.ending = Some(Ending::Told(message));
                }
            }
        }
        Ok(())
    }

    /// All output is written: the exit code follows from the guest's last word.
    fn farewell(&mut self) -> Result<u8> {
        self.raw_mode = None;
        let code = match self.ending.take() {
            Some(Ending::Told(message)) => {
                let outcome = Outcome::of(message, "the command");
                if let Some(notice) = outcome.notice {
                    warn(&format!("vmrun: {notice}"));
                }
                outcome.code
            }
            Some(Ending::Detached) => 0,
            Some(Ending::Lost) | None => {
                warn("vmrun: the machine has ended, and the command with it");
                KILLED
            }
        };
        let Some(error) = self.unwritable else { return Ok(code) };
        warn(&format!("vmrun: cannot write the command's output: {}", io::Error::from(error)));
        Ok(crate::FAILED)
    }

    /// An output cannot be written any more. The guest is told, so that the process is, as in a pipeline.
    fn lose(&mut self, index: usize, error: Errno) {
        if error != Errno::PIPE {
            self.unwritable = Some(error);
        }
        let output = &mut self.outputs[index];
        output.end();
        let _ = frame::write(&self.control, &HostMessage::Unread(output.stream));
    }

    fn pass_signals(&mut self) -> Option<u8> {
        for signal in self.signals.pending() {
            let message = match signal {
                SIGWINCH if !self.is_terminal => continue,
                SIGWINCH => HostMessage::Resize(window_size()),
                _ => HostMessage::Signal(signal as u8),
            };
            let _ = frame::write(&self.control, &message);
            if [SIGINT, SIGTERM].contains(&signal) {
                self.impatience += 1;
                if self.impatience >= IMPATIENCE {
                    self.raw_mode = None;
                    warn(&format!("vmrun: left the command alone after {IMPATIENCE} signals: it goes on"));
                    return Some(128 + signal as u8);
                }
            }
        }
        None
    }

    fn read_input(&mut self) {
        let Some(input) = &mut self.input else { return };
        let mut piece = [0; PIECE];
        match rustix::io::read(rustix::stdio::stdin(), &mut piece) {
            Ok(count) if count > 0 => match &mut self.detector {
                Some(detector) => {
                    let (passed, detached) = detector.take(&piece[..count]);
                    input.pending.extend_from_slice(&passed);
                    if detached {
                        self.outputs.iter_mut().for_each(Output::end);
                        self.ending = Some(Ending::Detached);
                    }
                }
                None => input.pending.extend_from_slice(&piece[..count]),
            },
            Err(Errno::INTR | Errno::AGAIN) => return,
            _ => input.is_over = true,
        }
        self.write_input();
    }

    fn write_input(&mut self) {
        let Some(input) = &mut self.input else { return };
        while !input.pending.is_empty() {
            match (&input.to).write(&input.pending) {
                Ok(count) => drop(input.pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The process has closed its input, or ended.
                Err(_) => {
                    self.input = None;
                    return;
                }
            }
        }
        if input.is_over && input.closes {
            let _ = input.to.shutdown(Shutdown::Write);
            self.input = None;
        }
    }
}

impl Input {
    fn new(to: UnixStream, closes: bool) -> Input {
        Input { to, pending: Vec::new(), is_over: false, closes }
    }
}

impl Output {
    fn new(stream: Stream, from: UnixStream, to: BorrowedFd<'static>) -> Output {
        let is_pipe = rustix::fs::fstat(to).is_ok_and(|stat| {
            matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::Socket)
        });
        let piece = if is_pipe { SURE_PIECE } else { PIECE };
        Output { stream, from: Some(from), to, piece, pending: Vec::new() }
    }

    fn end(&mut self) {
        self.pending.clear();
        self.from = None;
    }

    fn is_over(&self) -> bool {
        self.from.is_none() && self.pending.is_empty()
    }

    fn read(&mut self) {
        let Some(from) = &mut self.from else { return };
        self.pending.resize(PIECE, 0);
        let count = match from.read(&mut self.pending) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.pending.clear();
                return;
            }
            // The machine is gone; how it ended is told elsewhere.
            Err(_) => 0,
        };
        self.pending.truncate(count);
        if count == 0 {
            self.from = None;
        }
    }

    fn write(&mut self) -> Result<(), Errno> {
        let piece = &self.pending[..self.pending.len().min(self.piece)];
        match rustix::io::write(self.to, piece) {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
