//! The time between a machine's start and its end: streams are carried, the host is heard, children
//! are reaped. One loop, one thread.

use std::rc::Rc;
use std::time::{Duration, Instant};

use guest_protocol::{ExitStatus, GuestMessage, Hello, HostMessage, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use crate::control::Control;
use crate::lane::{Carriage, End, Lane, Way};
use crate::process::Started;
use crate::signals;
use crate::stdio::Ends;
use crate::terminal;
use crate::vsock::Listener;

/// How long the host may take nothing of the kernel's log when the machine ends.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

const HANGUP: i32 = Signal::HUP.as_raw();
const INTERRUPT: i32 = Signal::INT.as_raw();

/// Where the host's streams come from.
pub enum Transport {
    Vsock(Listener),
    Ports(Vec<(Hello, Rc<OwnedFd>)>),
}

/// Why a session is over.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// The host has said that it has everything.
    Closed,
    /// The host is gone.
    Lost,
    /// The host did not come in the time it was given.
    Waited,
}

pub struct Session {
    children: OwnedFd,
    listener: Option<Listener>,
    /// Kept open to the end: closing a port may drop what is on its way.
    ports: Vec<(Hello, Rc<OwnedFd>)>,
    control: Control,
    lanes: Vec<Lane>,
    process: Option<Running>,
    /// What the host will be told when all output has been sent.
    outcome: Option<GuestMessage>,
    ending: Option<Ending>,
    deadline: Option<Instant>,
    chore: Option<Chore>,
}

/// What is done when the machine has been running for a while, so that its start does not wait for it.
struct Chore {
    due: Instant,
    work: Box<dyn FnOnce()>,
}

struct Running {
    pid: Pid,
    terminal: Option<RunningTerminal>,
}

struct RunningTerminal {
    master: Rc<OwnedFd>,
    /// Held so that the terminal does not end before the process does.
    _slave: OwnedFd,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Children,
    Connections,
    Control,
    LaneInput(usize),
    LaneOutput(usize),
}

impl Session {
    /// A session for a process that runs.
    pub fn of_process(started: Started, children: OwnedFd, transport: Transport) -> Session {
        let (lanes, terminal) = lanes(started.ends);
        let process = Running { pid: started.pid, terminal };
        Session::new(children, transport, lanes, Some(process), None)
    }

    /// A session in a machine that only serves, until the host lets it end.
    pub fn without_process(children: OwnedFd, transport: Transport) -> Session {
        Session::new(children, transport, Vec::new(), None, None)
    }

    /// A session that says nothing but `message`, in a machine without a process.
    pub fn of_message(message: GuestMessage, children: OwnedFd, transport: Transport) -> Session {
        let silent = |stream| Lane::new(stream, Way::ToHost, End::Over, End::Awaited);
        // The host may wait for these streams' ends, or for none of them.
        let lanes = vec![silent(Stream::Stdout), silent(Stream::Stderr), silent(Stream::Terminal)];
        Session::new(children, transport, lanes, None, Some(message))
    }

    /// Gives up when the session has not ended after `time`.
    pub fn give_up_after(mut self, time: Duration) -> Session {
        self.deadline = Some(Instant::now() + time);
        self
    }

    /// Does `work` once the session has run for `time`.
    pub fn doing_later(mut self, time: Duration, work: Box<dyn FnOnce()>) -> Session {
        self.chore = Some(Chore { due: Instant::now() + time, work });
        self
    }

    fn new(
        children: OwnedFd,
        transport: Transport,
        mut lanes: Vec<Lane>,
        process: Option<Running>,
        outcome: Option<GuestMessage>,
    ) -> Session {
        lanes.push(Lane::new(Stream::KernelLog, Way::ToHost, End::Awaited, End::Awaited));
        let (listener, ports) = match transport {
            Transport::Vsock(listener) => (Some(listener), Vec::new()),
            Transport::Ports(ports) => (None, ports),
        };
        let control = Control::default();
        let (ending, deadline, chore) = (None, None, None);
        let mut session =
            Session { children, listener, ports, control, lanes, process, outcome, ending, deadline, chore };
        for (hello, port) in session.ports.clone() {
            session.connected(hello, &port, Carriage::Pieces);
        }
        session
    }

    /// Runs until the host lets the machine end or is gone.
    pub fn run(mut self) -> Ending {
        loop {
            self.tell_outcome();
            if let Some(ending) = self.ending.take() {
                self.finish(&ending);
                return ending;
            }
            for (source, flags) in self.wait() {
                self.serve(source, flags);
            }
            if let Some(chore) = self.chore.take_if(|chore| Instant::now() >= chore.due) {
                (chore.work)();
            }
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.ending = Some(Ending::Waited);
            }
        }
    }

    /// Sends what has become of the process: its end only after all that it wrote.
    fn tell_outcome(&mut self) {
        let ready = match &self.outcome {
            Some(GuestMessage::Exited(_)) => {
                self.lanes.iter().filter(|lane| is_output(lane)).all(Lane::is_over)
            }
            _ => true,
        };
        if ready && let Some(message) = self.outcome.take() {
            self.control.send(&message);
        }
    }

    fn wait(&self) -> Vec<(Source, PollFlags)> {
        let mut wanted = vec![(Source::Children, (self.children.as_fd(), PollFlags::IN))];
        wanted.extend(self.control.interest().map(|interest| (Source::Control, interest)));
        let connections = self.listener.iter().flat_map(Listener::interests);
        wanted.extend(connections.map(|interest| (Source::Connections, interest)));
        for (index, lane) in self.lanes.iter().enumerate() {
            let [source, sink] = lane.interests();
            wanted.extend(source.map(|interest| (Source::LaneInput(index), interest)));
            wanted.extend(sink.map(|interest| (Source::LaneOutput(index), interest)));
        }
        let mut fds: Vec<_> =
            wanted.iter().map(|(_, (fd, flags))| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let due = self.chore.as_ref().map(|chore| chore.due);
        let timeout = self.deadline.into_iter().chain(due).min().map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
        });
        // An interrupted wait is one that found nothing.
        if poll(&mut fds, timeout.as_ref()).is_err() {
            return Vec::new();
        }
        let ready = wanted.iter().zip(&fds).map(|((source, _), fd)| (*source, fd.revents()));
        ready.filter(|(_, flags)| !flags.is_empty()).collect()
    }

    fn serve(&mut self, source: Source, flags: PollFlags) {
        match source {
            Source::Children => self.reap(),
            Source::Connections => self.accept(),
            Source::Control => self.obey(),
            Source::LaneInput(index) => {
                self.lanes[index].turn(false);
            }
            Source::LaneOutput(index) => {
                self.lanes[index].turn(flags.intersects(PollFlags::HUP | PollFlags::ERR));
            }
        }
    }

    fn accept(&mut self) {
        let greeted = self.listener.as_mut().map(Listener::greeted).unwrap_or_default();
        for (hello, connection) in greeted {
            self.connected(hello, &connection, Carriage::Raw);
        }
    }

    fn connected(&mut self, hello: Hello, connection: &Rc<OwnedFd>, carriage: Carriage) {
        match hello {
            Hello::Control => self.control.attach(connection),
            Hello::Stream(stream) => {
                for lane in self.lanes.iter_mut().filter(|lane| lane.stream == stream) {
                    if lane.attach(connection, carriage) {
                        if stream == Stream::KernelLog {
                            lane.begin(kernel_log());
                        }
                        lane.turn(false);
                    }
                }
            }
            // Closes the connection: what is not served is refused.
            _ => {}
        }
    }

    fn obey(&mut self) {
        for message in self.control.receive() {
            match message {
                HostMessage::Signal(number) => self.signal(number),
                HostMessage::Resize(size) => {
                    if let Some(terminal) =
                        self.process.as_ref().and_then(|process| process.terminal.as_ref())
                    {
                        let _ = terminal::resize(&terminal.master, size);
                    }
                }
                HostMessage::Close => self.ending = Some(Ending::Closed),
            }
        }
        if self.control.is_lost() && self.ending.is_none() {
            self.ending = Some(Ending::Lost);
        }
    }

    fn signal(&mut self, number: u8) {
        if i32::from(number) == libc::SIGPIPE {
            // The host's way to say that nobody reads on, where a port does not tell: the process gets
            // it from its next write, as in a pipeline.
            let outputs =
                self.lanes.iter_mut().filter(|lane| lane.stream == Stream::Stdout && lane.is_on_port());
            outputs.for_each(Lane::end_source);
        }
        if let Some(process) = &self.process
            && let Some(signal) = Signal::from_named_raw(number.into())
        {
            let _ = kill_process(process.pid, signal);
        }
    }

    /// Takes every child that has ended: the process, and whatever else was left to PID 1.
    fn reap(&mut self) {
        signals::acknowledge(&self.children);
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if self.process.as_ref().is_some_and(|process| process.pid == pid) {
                let status = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => ExitStatus::Code(code as u8),
                    // Neither can kill the first process of a PID namespace: reboot(2) ended it so.
                    (None, Some(INTERRUPT)) => ExitStatus::PoweredOff,
                    (None, Some(HANGUP)) => ExitStatus::Rebooted,
                    (None, signal) => ExitStatus::Signal(signal.unwrap_or(0) as u8),
                };
                self.ended(status);
            }
        }
    }

    /// The process is gone, and everything of its namespace with it: nobody writes to its streams any
    /// more, so what is in them is the rest.
    fn ended(&mut self, status: ExitStatus) {
        // With the terminal's last side closed, reading it comes to an end.
        self.process = None;
        self.outcome = Some(GuestMessage::Exited(status));
        for lane in &mut self.lanes {
            match lane.way {
                Way::ToProcess => lane.abandon(),
                Way::ToHost => {
                    lane.turn(false);
                }
            }
        }
    }

    /// The last things before the machine ends.
    fn finish(&mut self, ending: &Ending) {
        if let Some(process) = self.process.take() {
            let _ = kill_process(process.pid, Signal::KILL);
            while wait(WaitOptions::empty())
                .is_ok_and(|ended| ended.is_none_or(|(pid, _)| pid != process.pid))
            {}
        }
        if *ending == Ending::Closed {
            // The host may have asked for the log with its last breath.
            self.accept();
            if let Some(log) = self.lanes.iter_mut().find(|lane| lane.stream == Stream::KernelLog) {
                log.drain(LOG_PATIENCE);
            }
        }
    }
}

fn is_output(lane: &Lane) -> bool {
    lane.way == Way::ToHost && lane.stream != Stream::KernelLog
}

fn kernel_log() -> End {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    open("/dev/kmsg", flags, Mode::empty()).map_or(End::Over, |log| End::Open(Rc::new(log)))
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
#[path = "session_test.rs"]
mod tests;
