//! One process of the machine, as the host attends it: its control stream, its streams, its end.

use std::rc::Rc;
use std::time::{Duration, Instant};

use guest_protocol::{ExitStatus, GuestMessage, HostMessage, Stream};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::process::{Pid, Signal, WaitStatus};

use crate::control::Control;
use crate::image_init::{self, Asked};
use crate::lane::{Carriage, End, Lane, Way};
use crate::process::{self, Started, Starting};
use crate::stdio::Ends;
use crate::terminal;

/// A terminal that others still have open has said everything when it says nothing for this long.
const QUIET: Duration = Duration::from_millis(100);

/// What of a process is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Control,
    /// Whether it could be started.
    Report,
    LaneInput(usize),
    LaneOutput(usize),
}

/// What the host wants of the machine, beside what it wants of the process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The machine is to end.
    Close,
    /// The host is gone.
    Lost,
    /// The system is to be shut down, in whatever way it knows.
    ShutDown,
}

#[derive(Default)]
pub struct Attended {
    control: Control,
    lanes: Vec<Lane>,
    process: Option<Running>,
    /// What the host will be told when all output has been sent.
    outcome: Option<GuestMessage>,
    /// It is one of several: its end is not everybody's.
    is_exec: bool,
    /// It is PID 1 of the whole system.
    is_init: bool,
    /// When its terminal is looked at again to see whether there is more.
    quiet_at: Option<Instant>,
}

struct Running {
    pid: Pid,
    /// Until it is known whether the command runs.
    report: Option<OwnedFd>,
    terminal: Option<RunningTerminal>,
}

struct RunningTerminal {
    master: Rc<OwnedFd>,
    /// Held so that the terminal does not end before the process does.
    _slave: OwnedFd,
}

impl Attended {
    /// The machine's own process, which runs.
    pub fn main(started: Started) -> Attended {
        let (lanes, terminal) = lanes(started.ends);
        let is_init = started.pid.is_init();
        let process = Some(Running { pid: started.pid, report: None, terminal });
        Attended { lanes, process, is_init, ..Attended::default() }
    }

    /// The place of a process that there is not; `message` says why.
    pub fn missing(message: GuestMessage) -> Attended {
        let silent = |stream| Lane::new(stream, Way::ToHost, End::Over, End::Awaited);
        // The host may wait for these streams' ends, or for none of them.
        let lanes = vec![silent(Stream::Stdout), silent(Stream::Stderr), silent(Stream::Terminal)];
        Attended { lanes, outcome: Some(message), ..Attended::default() }
    }

    /// One more process, whose host is there. Without `streams`, nobody listens to it.
    pub fn exec(starting: Starting, control: Control, streams: &[(Stream, Rc<OwnedFd>)]) -> Attended {
        let (lanes, terminal) = lanes(starting.ends);
        let lanes = lanes.into_iter().map(Lane::outliving_host).collect();
        let process = Some(Running { pid: starting.pid, report: Some(starting.report), terminal });
        let mut exec = Attended { control, lanes, process, is_exec: true, ..Attended::default() };
        for (stream, connection) in streams {
            exec.attach(*stream, connection, Carriage::Raw);
        }
        if streams.is_empty() {
            exec.lanes.iter_mut().for_each(Lane::lose_host);
        }
        exec
    }

    pub fn attach_control(&mut self, connection: &Rc<OwnedFd>) {
        self.control.attach(connection);
    }

    /// Gives a stream the host's end.
    pub fn attach(&mut self, stream: Stream, connection: &Rc<OwnedFd>, carriage: Carriage) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.stream == stream) {
            if lane.attach(connection, carriage) {
                lane.turn(false);
            }
        }
    }

    pub fn pid(&self) -> Option<Pid> {
        self.process.as_ref().map(|process| process.pid)
    }

    pub fn interests(&self) -> impl Iterator<Item = (Source, (BorrowedFd<'_>, PollFlags))> {
        let control = self.control.interest().map(|interest| (Source::Control, interest));
        let report = self.process.as_ref().and_then(|process| process.report.as_ref());
        let report = report.map(|report| (Source::Report, (report.as_fd(), PollFlags::IN)));
        let lanes = self.lanes.iter().enumerate().flat_map(|(index, lane)| {
            let [source, sink] = lane.interests();
            let source = source.map(|interest| (Source::LaneInput(index), interest));
            source.into_iter().chain(sink.map(|interest| (Source::LaneOutput(index), interest)))
        });
        control.into_iter().chain(report).chain(lanes)
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.quiet_at
    }

    /// Does what `source` is ready for.
    pub fn serve(&mut self, source: Source, flags: PollFlags) -> Option<Wish> {
        match source {
            Source::Control => return self.obey(),
            Source::Report => self.hear_report(),
            // They are gone since they were waited for, where the command could not be started.
            Source::LaneInput(index) => {
                if let Some(lane) = self.lanes.get_mut(index) {
                    lane.turn(false);
                }
            }
            Source::LaneOutput(index) => {
                if let Some(lane) = self.lanes.get_mut(index) {
                    lane.turn(flags.intersects(PollFlags::HUP | PollFlags::ERR));
                }
            }
        }
        None
    }

    /// Sends what has become of the process: its end only after all that it wrote.
    pub fn tell_outcome(&mut self) {
        let ready = match &self.outcome {
            Some(GuestMessage::Exited(_)) => {
                self.end_quiet_terminal();
                self.lanes.iter().filter(|lane| lane.way == Way::ToHost).all(Lane::is_over)
            }
            _ => true,
        };
        if ready && let Some(message) = self.outcome.take() {
            self.control.send(&message);
            if self.is_exec {
                let rests: Vec<Lane> = self.lanes.iter_mut().filter_map(Lane::take_rest).collect();
                self.lanes.extend(rests);
            }
        }
    }

    /// Whether the host has been told everything.
    pub fn is_told(&self) -> bool {
        self.process.is_none() && self.outcome.is_none() && self.control.is_flushed()
    }

    /// Whether nothing is left of it, in the guest or for the host.
    pub fn is_over(&self) -> bool {
        self.is_told() && self.lanes.iter().all(Lane::is_over)
    }

    /// The process with this number has ended, if it is this one's.
    pub fn ended(&mut self, pid: Pid, status: WaitStatus) -> bool {
        if self.pid() != Some(pid) {
            return false;
        }
        let first = if self.is_exec { None } else { reboot(status) };
        self.ended_so(first.unwrap_or_else(|| exit_status(status)));
        true
    }

    fn ended_so(&mut self, status: ExitStatus) {
        self.hear_report();
        // With the terminal's last side closed, reading it comes to an end, unless others have it.
        let had_terminal = self.process.take().is_some_and(|process| process.terminal.is_some());
        if self.outcome.is_some() {
            // It could not be started.
            return;
        }
        self.outcome = Some(GuestMessage::Exited(status));
        for lane in &mut self.lanes {
            match lane.way {
                Way::ToProcess => lane.abandon(),
                // Nothing of its namespace is left that could write to a main process's streams.
                Way::ToHost if self.is_init => {
                    lane.turn(false);
                    lane.end_source();
                }
                Way::ToHost if !self.is_exec || had_terminal => drop(lane.turn(false)),
                Way::ToHost => lane.end_with_present(),
            }
        }
        if self.is_exec && had_terminal {
            self.quiet_at = Some(Instant::now() + QUIET);
        }
    }

    /// Ends the process, at whose end the machine is.
    pub fn kill(&mut self) {
        match self.pid() {
            // Nothing kills that; it ends with the power.
            Some(_) if self.is_init => self.process = None,
            Some(pid) => send(pid, libc::SIGKILL as u8),
            None => {}
        }
    }

    fn end_quiet_terminal(&mut self) {
        if self.quiet_at.is_some_and(|quiet_at| Instant::now() >= quiet_at) {
            self.quiet_at = None;
            for lane in self.lanes.iter_mut().filter(|lane| lane.way == Way::ToHost && !lane.is_over()) {
                if lane.is_idle() {
                    lane.end_source();
                } else {
                    self.quiet_at = Some(Instant::now() + QUIET);
                }
            }
        }
    }

    /// Learns whether the command could be started.
    fn hear_report(&mut self) {
        let Some(report) = self.process.as_mut().and_then(|process| process.report.take()) else { return };
        match process::receive_report(&report) {
            None => self.control.send(&GuestMessage::Started),
            Some(failed) => {
                self.process = None;
                self.outcome = Some(failed.into());
                self.lanes.clear();
            }
        }
    }

    fn obey(&mut self) -> Option<Wish> {
        let mut wish = None;
        for message in self.control.receive() {
            match message {
                HostMessage::Signal(number) => wish = wish.or(self.signal(number)),
                HostMessage::Resize(size) => {
                    if let Some(terminal) =
                        self.process.as_ref().and_then(|running| running.terminal.as_ref())
                    {
                        let _ = terminal::resize(&terminal.master, size);
                    }
                }
                // A terminal has no such thing.
                HostMessage::Unread(Stream::Terminal) => {}
                HostMessage::Unread(stream) => {
                    let unread = |lane: &&mut Lane| lane.stream == stream && lane.way == Way::ToHost;
                    self.lanes.iter_mut().filter(unread).for_each(Lane::refuse);
                }
                HostMessage::Close => wish = Some(Wish::Close),
            }
        }
        if self.control.is_lost() {
            if self.is_exec {
                self.lanes.iter_mut().for_each(Lane::lose_host);
            }
            wish = wish.or(Some(Wish::Lost));
        }
        wish
    }

    fn signal(&mut self, number: u8) -> Option<Wish> {
        if i32::from(number) == libc::SIGPIPE {
            // The host's way to say that nobody reads on, where a port does not tell: the process gets
            // it from its next write, as in a pipeline.
            let outputs =
                self.lanes.iter_mut().filter(|lane| lane.stream == Stream::Stdout && lane.is_on_port());
            outputs.for_each(Lane::end_source);
        }
        let pid = self.pid()?;
        match if self.is_init { image_init::asked(number) } else { Asked::Signal(number) } {
            Asked::Signal(number) => send(pid, number),
            Asked::ShutDown => return Some(Wish::ShutDown),
            Asked::End => self.ended_so(ExitStatus::Signal(number)),
        }
        None
    }
}

fn exit_status(status: WaitStatus) -> ExitStatus {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitStatus::Code(code as u8),
        (None, signal) => ExitStatus::Signal(signal.unwrap_or(0) as u8),
    }
}

/// What reboot(2) in a PID namespace makes of the end of the first process there. No such signal can kill
/// that one; every other process can die of them.
fn reboot(status: WaitStatus) -> Option<ExitStatus> {
    const HANGUP: i32 = Signal::HUP.as_raw();
    const INTERRUPT: i32 = Signal::INT.as_raw();
    match status.terminating_signal()? {
        INTERRUPT => Some(ExitStatus::PoweredOff),
        HANGUP => Some(ExitStatus::Rebooted),
        _ => None,
    }
}

/// Sends any signal, also a real-time one.
fn send(pid: Pid, number: u8) {
    // SAFETY: it concerns no memory of this process.
    unsafe { libc::kill(pid.as_raw_nonzero().get(), number.into()) };
}

fn lanes(ends: Ends) -> (Vec<Lane>, Option<RunningTerminal>) {
    let open = |fd: OwnedFd| End::Open(Rc::new(fd));
    match ends {
        Ends::Separate { stdin, stdout, stderr } => {
            let mut lanes = vec![
                Lane::new(Stream::Stdout, Way::ToHost, open(stdout), End::Awaited),
                Lane::new(Stream::Stderr, Way::ToHost, open(stderr), End::Awaited),
            ];
            lanes.extend(stdin.map(|fd| Lane::new(Stream::Stdin, Way::ToProcess, End::Awaited, open(fd))));
            (lanes, None)
        }
        Ends::Console { master, slave } => {
            let master = Rc::new(master);
            let lanes = vec![
                Lane::new(Stream::Stdout, Way::ToHost, End::Open(master.clone()), End::Awaited),
                Lane::new(Stream::Stderr, Way::ToHost, End::Over, End::Awaited),
                Lane::new(Stream::Stdin, Way::ToProcess, End::Awaited, End::Open(master.clone())),
            ];
            (lanes, Some(RunningTerminal { master, _slave: slave }))
        }
        Ends::Terminal { master, slave } => {
            let master = Rc::new(master);
            let lanes = vec![
                Lane::new(Stream::Terminal, Way::ToHost, End::Open(master.clone()), End::Awaited),
                Lane::new(Stream::Terminal, Way::ToProcess, End::Awaited, End::Open(master.clone())),
            ];
            (lanes, Some(RunningTerminal { master, _slave: slave }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both that a command could not be started and its stream's end may come in one turn.
    #[test]
    fn streams_of_what_could_not_be_started_end_with_it() {
        let (report, child) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&child, b"fit is not there").unwrap();
        drop(child);
        let running = Running { pid: Pid::INIT, report: Some(report), terminal: None };
        let mut attended = Attended { process: Some(running), ..Attended::missing(GuestMessage::Started) };
        assert_eq!(attended.lanes.len(), 3);
        for source in [Source::Report, Source::LaneInput(0), Source::LaneOutput(2)] {
            assert!(attended.serve(source, PollFlags::IN).is_none());
        }
        assert!(attended.process.is_none() && attended.lanes.is_empty());
    }
}
