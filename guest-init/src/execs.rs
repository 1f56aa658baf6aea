//! Execs on their way: the host has begun to ask for a process, and not everything has come yet.

use std::rc::Rc;
use std::time::{Duration, Instant};

use guest_protocol::frame::{self, MAX_REQUEST};
use guest_protocol::{ExecRequest, Stream};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, read};

/// As many execs can be on their way at once.
const MAX_PENDING: usize = 256;

/// How long the parts of one may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The execs that are not complete yet.
#[derive(Default)]
pub struct PendingExecs(Vec<PendingExec>);

struct PendingExec {
    token: u64,
    control: Option<Rc<OwnedFd>>,
    received: Vec<u8>,
    request: Option<ExecRequest>,
    streams: Vec<(Stream, Rc<OwnedFd>)>,
    until: Instant,
    is_broken: bool,
}

/// An exec of which everything has come.
pub struct Exec {
    pub request: ExecRequest,
    pub control: Rc<OwnedFd>,
    /// What the control stream has brought after the request.
    pub received: Vec<u8>,
    pub streams: Vec<(Stream, Rc<OwnedFd>)>,
}

impl PendingExecs {
    pub fn control_came(&mut self, token: u64, connection: &Rc<OwnedFd>) {
        if let Some(exec) = self.of(token) {
            exec.is_broken |= exec.control.replace(connection.clone()).is_some();
        }
    }

    pub fn stream_came(&mut self, token: u64, stream: Stream, connection: &Rc<OwnedFd>) {
        if let Some(exec) = self.of(token) {
            exec.is_broken |= exec.streams.iter().any(|(other, _)| *other == stream);
            exec.streams.push((stream, connection.clone()));
        }
    }

    pub fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let waiting = self.0.iter().filter(|exec| exec.request.is_none());
        waiting.filter_map(|exec| exec.control.as_ref()).map(|control| (control.as_fd(), PollFlags::IN))
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|exec| exec.until).min()
    }

    /// Those of which everything has come. What comes too late, or makes no sense, is dropped, and so
    /// are its connections.
    pub fn complete(&mut self) -> Vec<Exec> {
        let mut complete = Vec::new();
        for mut exec in std::mem::take(&mut self.0) {
            exec.receive();
            if exec.is_broken || Instant::now() >= exec.until {
                continue;
            }
            match exec {
                PendingExec { request: Some(request), control: Some(control), received, streams, .. }
                    if is_all(&request, &streams) =>
                {
                    complete.push(Exec { request, control, received, streams });
                }
                exec => self.0.push(exec),
            }
        }
        complete
    }

    fn of(&mut self, token: u64) -> Option<&mut PendingExec> {
        let at = match self.0.iter().position(|exec| exec.token == token) {
            Some(at) => at,
            None if self.0.len() < MAX_PENDING => {
                self.0.push(PendingExec {
                    token,
                    control: None,
                    received: Vec::new(),
                    request: None,
                    streams: Vec::new(),
                    until: Instant::now() + PATIENCE,
                    is_broken: false,
                });
                self.0.len() - 1
            }
            None => return None,
        };
        self.0.get_mut(at)
    }
}

impl PendingExec {
    /// Takes what has come of the request.
    fn receive(&mut self) {
        let Some(control) = &self.control else { return };
        let mut chunk = [0; 4096];
        while self.request.is_none() && !self.is_broken {
            match read(control, &mut chunk) {
                Ok(0) => self.is_broken = true,
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break,
                Err(_) => self.is_broken = true,
            }
            match frame::take_within(MAX_REQUEST, &mut self.received) {
                Ok(request) => self.request = request,
                Err(_) => self.is_broken = true,
            }
        }
    }
}

fn is_all(request: &ExecRequest, streams: &[(Stream, Rc<OwnedFd>)]) -> bool {
    let wanted: &[Stream] = match &request.process {
        _ if request.detached => &[],
        process if process.terminal.is_some() => &[Stream::Terminal],
        process if process.stdin => &[Stream::Stdout, Stream::Stderr, Stream::Stdin],
        _ => &[Stream::Stdout, Stream::Stderr],
    };
    wanted.iter().all(|wanted| streams.iter().any(|(stream, _)| stream == wanted))
}

#[cfg(test)]
#[path = "execs_test.rs"]
mod tests;
