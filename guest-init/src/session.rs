//! The time between a machine's start and its end: streams are carried, the host is heard, children
//! are reaped. One loop, one thread.

use std::rc::Rc;
use std::time::{Duration, Instant};

use guest_protocol::{Hello, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{WaitOptions, wait};

use crate::attended::{self, Attended, Wish};
use crate::control::Control;
use crate::execs::{Exec, PendingExecs};
use crate::files;
use crate::guest::Guest;
use crate::image_init;
use crate::inquiries::Inquiries;
use crate::lane::{Carriage, End, Lane, Way};
use crate::listener::Listener;
use crate::log;
use crate::signals;

/// How long the host may take nothing of the kernel's log when the machine ends.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// How long the last words about execs may take to be said when the machine ends.
const EXEC_PATIENCE: Duration = Duration::from_secs(2);

/// As many execs can run at once, those included whose streams are still open.
const MAX_EXECS: usize = 1024;

/// Where the host's streams come from.
pub enum Transport {
    Listener(Listener),
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
    guest: Guest,
    main: Attended,
    execs: Vec<Attended>,
    pending: PendingExecs,
    inquiries: Inquiries,
    kernel_log: Lane,
    ending: Option<Ending>,
    deadline: Option<Instant>,
    chore: Option<Chore>,
}

/// What is done when the machine has been running for a while, so that its start does not wait for it.
struct Chore {
    due: Instant,
    work: Box<dyn FnOnce()>,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Children,
    Connections,
    Main(attended::Source),
    Exec(usize, attended::Source),
    Inquiries,
    KernelLog,
}

impl Session {
    /// A session for the machine's own process, or for none, in a machine that only serves.
    pub fn new(main: Attended, guest: Guest, children: OwnedFd, transport: Transport) -> Session {
        let (listener, ports) = match transport {
            Transport::Listener(listener) => (Some(listener), Vec::new()),
            Transport::Ports(ports) => (None, ports),
        };
        let mut session = Session {
            children,
            listener,
            ports,
            guest,
            main,
            execs: Vec::new(),
            pending: PendingExecs::default(),
            inquiries: Inquiries::default(),
            kernel_log: Lane::new(Stream::KernelLog, Way::ToHost, End::Awaited, End::Awaited),
            ending: None,
            deadline: None,
            chore: None,
        };
        for (hello, port) in session.ports.clone() {
            session.connected(hello, &port, Carriage::Pieces);
        }
        session
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

    /// Runs until the host lets the machine end or is gone. What the guest has is handed back.
    pub fn run(mut self) -> Guest {
        let _ = self.run_to_end();
        self.guest
    }

    fn run_to_end(&mut self) -> Ending {
        loop {
            self.main.tell_outcome();
            self.execs.iter_mut().for_each(Attended::tell_outcome);
            self.execs.retain(|exec| !exec.is_over());
            if let Some(ending) = self.ending.take() {
                self.finish(&ending);
                return ending;
            }
            let deadline = self.next_deadline();
            self.turn(deadline);
            if let Some(chore) = self.chore.take_if(|chore| Instant::now() >= chore.due) {
                (chore.work)();
            }
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.ending = Some(Ending::Waited);
            }
        }
    }

    /// Waits until there is something to do, or `deadline`, and does it.
    fn turn(&mut self, deadline: Option<Instant>) {
        for (source, flags) in self.wait(deadline) {
            self.serve(source, flags);
        }
        if self.listener.as_ref().and_then(Listener::deadline).is_some_and(|until| Instant::now() >= until) {
            self.accept();
        }
        self.inquiries.turn(&self.guest);
        for exec in self.pending.complete() {
            self.start(exec);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let execs = self.execs.iter().filter_map(Attended::deadline);
        let silent = self.listener.iter().filter_map(Listener::deadline);
        let chore = self.chore.as_ref().map(|chore| chore.due);
        let own = self.deadline.into_iter().chain(chore);
        own.chain(self.pending.deadline()).chain(self.inquiries.deadline()).chain(execs).chain(silent).min()
    }

    fn wait(&self, deadline: Option<Instant>) -> Vec<(Source, PollFlags)> {
        let mut wanted = vec![(Source::Children, (self.children.as_fd(), PollFlags::IN))];
        wanted.extend(self.main.interests().map(|(source, interest)| (Source::Main(source), interest)));
        for (index, exec) in self.execs.iter().enumerate() {
            let interests = exec.interests();
            wanted.extend(interests.map(|(source, interest)| (Source::Exec(index, source), interest)));
        }
        let connections = self.listener.iter().flat_map(Listener::interests).chain(self.pending.interests());
        wanted.extend(connections.map(|interest| (Source::Connections, interest)));
        wanted.extend(self.inquiries.interests().map(|interest| (Source::Inquiries, interest)));
        let log = self.kernel_log.interests().into_iter().flatten();
        wanted.extend(log.map(|interest| (Source::KernelLog, interest)));
        let mut fds: Vec<_> =
            wanted.iter().map(|(_, (fd, flags))| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let timeout = deadline.map(|deadline| {
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
            Source::Main(source) => match self.main.serve(source, flags) {
                Some(Wish::Close) => self.ending = Some(Ending::Closed),
                Some(Wish::ShutDown) => self.shut_down(),
                Some(Wish::Lost) if self.ending.is_none() => self.ending = Some(Ending::Lost),
                _ => {}
            },
            // Its host's wishes are about itself alone.
            Source::Exec(index, source) => drop(self.execs[index].serve(source, flags)),
            // All at once, below.
            Source::Inquiries => {}
            Source::KernelLog => {
                self.kernel_log.turn(flags.intersects(PollFlags::HUP | PollFlags::ERR));
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
            Hello::Control => self.main.attach_control(connection),
            Hello::Stream(Stream::KernelLog) => self.send_log(connection, carriage),
            Hello::Stream(stream) => self.main.attach(stream, connection, carriage),
            Hello::Exec { token } => self.pending.control_came(token, connection),
            Hello::ExecStream { token, stream } => self.pending.stream_came(token, stream, connection),
            Hello::Files => {
                let way = files::serve(connection, &self.guest, self.main.pid());
                way.into_iter().for_each(|way| self.inquiries.watch(way));
            }
            Hello::Freeze | Hello::Thaw | Hello::Statistics | Hello::Processes => {
                self.inquiries.ask(hello, connection, &self.guest);
            }
        }
    }

    fn send_log(&mut self, connection: &Rc<OwnedFd>, carriage: Carriage) {
        if self.kernel_log.attach(connection, carriage) {
            self.kernel_log.begin(kernel_log());
            self.kernel_log.turn(false);
        }
    }

    /// Starts a process of which all streams are there.
    fn start(&mut self, exec: Exec) {
        let mut control = Control::resume(exec.control, exec.received);
        let started = match self.execs.len() < MAX_EXECS {
            true => self.guest.start(&exec.request.process, self.main.pid()),
            false => Err(self.guest.too_many()),
        };
        match started {
            Ok(starting) => {
                let streams = if exec.request.detached { &[][..] } else { &exec.streams };
                self.execs.push(Attended::exec(starting, control, streams));
            }
            Err(failed) => control.send(&failed.into()),
        }
    }

    /// Has the image's init end the system, by the program that every one brings for that.
    fn shut_down(&mut self) {
        match self.guest.start(&image_init::shut_down(), self.main.pid()) {
            Ok(starting) => self.execs.push(Attended::exec(starting, Control::default(), &[])),
            Err(failed) => log::note(&["the system cannot be shut down: ", &failed.message].concat()),
        }
    }

    /// Takes every child that has ended: the processes, and whatever else was left to PID 1.
    fn reap(&mut self) {
        signals::acknowledge(&self.children);
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if !self.main.ended(pid, status) && !self.execs.iter_mut().any(|exec| exec.ended(pid, status)) {
                self.inquiries.ended(pid);
            }
        }
    }

    /// The last things before the machine ends.
    fn finish(&mut self, ending: &Ending) {
        self.main.kill();
        let deadline = Instant::now() + EXEC_PATIENCE;
        // The namespace's end is that of all who are in it; their hosts are told.
        while (self.main.pid().is_some() || !self.execs.iter().all(Attended::is_told))
            && Instant::now() < deadline
        {
            self.turn(Some(deadline));
            self.execs.iter_mut().for_each(Attended::tell_outcome);
        }
        if *ending == Ending::Closed {
            // The host may have asked for the log with its last breath.
            self.accept();
            let listener = &mut self.listener;
            self.kernel_log.drain(LOG_PATIENCE, || {
                if let Some(listener) = listener {
                    listener.carry();
                }
            });
        }
    }
}

fn kernel_log() -> End {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    open("/dev/kmsg", flags, Mode::empty()).map_or(End::Over, |log| End::Open(Rc::new(log)))
}

#[cfg(test)]
#[path = "session_test.rs"]
mod tests;
