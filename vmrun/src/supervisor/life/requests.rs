//! What a life does when it is asked to: signals, ends that are asked for, pauses.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use guest_protocol::{Hello, HostMessage, frame};

use super::{KILL, Life};
use crate::machine::{Outcome, Status, connect_within};
use crate::supervisor::Supervisor;
use crate::supervisor::protocol::{Ended, FromClient, Reply, Request};
use crate::supervisor::server::Asker;

/// How long a machine may take to tell that a killed process has ended.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// How long freezing and thawing may take.
const FREEZE_PATIENCE: Duration = Duration::from_secs(15);

/// How a machine is ended that has been asked to end.
#[derive(Clone, Copy)]
pub(super) enum Harder {
    KillProcess,
    KillMachine,
}

impl Life {
    /// What somebody asks by way of the socket; the outcome, if that ends the machine at once.
    pub(super) fn asked(
        &mut self,
        request: Request,
        asker: Asker,
        supervisor: &mut Supervisor,
    ) -> Option<Outcome> {
        match request {
            Request::Signal(KILL) => {
                let _ = self.signal(KILL, supervisor);
                supervisor.will_answer(asker);
            }
            Request::Signal(signal) => {
                let sent = self.signal(signal, supervisor);
                asker.answer(&sent.map(|()| Ended::default()));
            }
            Request::Stop { signal, seconds, keep } => {
                supervisor.state.stopped_by_user = true;
                supervisor.kept |= keep;
                supervisor.will_answer(asker);
                if !self.may_be_told() {
                    return Some(Outcome::stopped(128 + KILL));
                }
                self.thaw_if_paused(supervisor);
                self.send(&HostMessage::Signal(signal));
                let grace = Duration::from_secs(seconds.min(u64::from(u32::MAX)));
                self.harder = Some((Instant::now() + grace, Harder::KillProcess));
            }
            Request::Pause => asker.answer(&self.freeze(supervisor)),
            Request::Unpause => asker.answer(&self.thaw(supervisor)),
            Request::Wait => supervisor.will_answer(asker),
            Request::Attach { .. } | Request::Stream { .. } => {}
        }
        None
    }

    /// What an attached client says.
    pub fn obey(&mut self, message: FromClient, supervisor: &mut Supervisor) {
        match message {
            FromClient::Begin => {}
            FromClient::Signal(signal) => drop(self.signal(signal, supervisor)),
            FromClient::Resize(size) => self.send(&HostMessage::Resize(size)),
            FromClient::Refuse(stream) => supervisor.outputs.refuse(stream),
        }
    }

    fn signal(&mut self, signal: u8, supervisor: &mut Supervisor) -> Result<(), String> {
        if signal == KILL {
            supervisor.state.stopped_by_user = true;
        }
        if !self.may_be_told() {
            // There is no process yet that could have a say in it.
            if ENDING.contains(&signal) {
                self.killed_by = Some(128_u8.saturating_add(signal));
            }
            return Ok(());
        }
        if supervisor.state.status == Status::Paused && signal != KILL {
            return Err("the machine is paused: unpause it first".into());
        }
        if signal == KILL {
            self.thaw_if_paused(supervisor);
            self.harder = Some((Instant::now() + KILL_PATIENCE, Harder::KillMachine));
        }
        self.send(&HostMessage::Signal(signal));
        Ok(())
    }

    /// When somebody's patience is over: the next, harder way to end the machine.
    pub(super) fn be_harder(&mut self, supervisor: &mut Supervisor) -> Option<Outcome> {
        match self.harder {
            Some((at, _)) if at > Instant::now() => None,
            Some((_, Harder::KillProcess)) => {
                self.send(&HostMessage::Signal(KILL));
                self.harder = Some((Instant::now() + KILL_PATIENCE, Harder::KillMachine));
                None
            }
            // Its process has ended, and somebody is slow to take the output.
            Some((_, Harder::KillMachine)) if self.last_word.is_some() => Some(self.farewell(supervisor)),
            Some((_, Harder::KillMachine)) => Some(Outcome::stopped(128 + KILL)),
            None => None,
        }
    }

    fn freeze(&mut self, supervisor: &mut Supervisor) -> Reply {
        if supervisor.state.status == Status::Paused {
            return Err("the machine is paused already".into());
        }
        self.ask_guest(Hello::Freeze, supervisor)?;
        supervisor.set_status(Status::Paused)
    }

    fn thaw(&mut self, supervisor: &mut Supervisor) -> Reply {
        if supervisor.state.status != Status::Paused {
            return Err("the machine is not paused".into());
        }
        self.ask_guest(Hello::Thaw, supervisor)?;
        supervisor.set_status(Status::Running)
    }

    fn thaw_if_paused(&mut self, supervisor: &mut Supervisor) {
        if supervisor.state.status == Status::Paused {
            // One that cannot be thawed is killed when its time is over.
            let _ = self.thaw(supervisor);
        }
    }

    fn ask_guest(&self, hello: Hello, supervisor: &Supervisor) -> Result<(), String> {
        if self.control.is_none() {
            return Err("the machine has not started yet".into());
        }
        let ask = || -> Result<Result<(), String>> {
            let mut connections = connect_within(FREEZE_PATIENCE, &supervisor.vsock_socket(), &[hello])?;
            let connection = connections.pop().context("no connection")?;
            Ok(frame::read(Timed { stream: connection, until: Instant::now() + FREEZE_PATIENCE })?)
        };
        ask().map_err(|error| format!("the machine does not answer: {error}"))?
    }
}

/// Signals that end what has no process yet: SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGTERM.
const ENDING: [u8; 5] = [1, 2, 3, KILL, 15];

/// A stream that is read until then, however slowly it comes.
pub(super) struct Timed {
    pub stream: UnixStream,
    pub until: Instant,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}
