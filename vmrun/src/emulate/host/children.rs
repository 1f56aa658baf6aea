//! The processes that the agent has started.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::request::{Connection, Spawn};
use crate::detached;
use crate::emulate::mux::{ChannelId, Foreign};

/// How long a process may go on without the connection it was attached to.
const PATIENCE: Duration = Duration::from_secs(60);

/// The names of children for the loop begin here.
const FIRST: Foreign = 1 << 16;

#[derive(Default)]
pub struct Children {
    running: BTreeMap<Foreign, Running>,
    next: Foreign,
}

struct Running {
    child: Child,
    label: String,
    /// The channel it is ended with.
    attached: Option<ChannelId>,
    /// When it is ended, if it has not by then.
    overdue: Option<Instant>,
    /// Becomes readable when it ends.
    pidfd: OwnedFd,
}

impl Children {
    /// Starts `program` as asked for, with `stream`, which is the channel's.
    pub fn start(
        &mut self,
        program: &Path,
        spawn: &Spawn,
        channel: ChannelId,
        stream: UnixStream,
    ) -> Result<(Foreign, &OwnedFd)> {
        let mut command = detached::command(program);
        command.args(spawn.words.iter().map(|word| OsStr::from_bytes(word)));
        let env = spawn.env.iter().cloned();
        command.envs(env.map(|(name, value)| (OsString::from_vec(name), OsString::from_vec(value))));
        command.stdout(OwnedFd::from(stream.try_clone()?));
        match spawn.connection {
            Connection::Said => command.stderr(OwnedFd::from(stream)),
            // What it complains of is in the holder's log.
            Connection::Life => command.stdin(OwnedFd::from(stream)).stderr(Stdio::inherit()),
        };
        let attached = (spawn.connection == Connection::Life).then_some(channel);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("cannot watch a process")?;
        let name = FIRST + self.next % FIRST;
        self.next = self.next.wrapping_add(1);
        let running = Running { child, label: spawn.label.clone(), attached, overdue: None, pidfd };
        self.running.insert(name, running);
        Ok((name, &self.running[&name].pidfd))
    }

    /// Takes the child that has ended out, if `name` is one.
    pub fn take_ended(&mut self, name: Foreign) -> Option<OwnedFd> {
        let running = self.running.get_mut(&name)?;
        match running.child.try_wait() {
            Ok(None) => None,
            // One that cannot be waited for is nobody's child any more.
            Ok(Some(_)) | Err(_) => self.running.remove(&name).map(|running| running.pidfd),
        }
    }

    /// The channel is over: the child that is attached to it is to end by itself, soon.
    pub fn detach(&mut self, channel: ChannelId) {
        for running in self.running.values_mut().filter(|running| running.attached == Some(channel)) {
            running.overdue = Some(Instant::now() + PATIENCE);
        }
    }

    /// When a child is to have ended next.
    pub fn deadline(&self) -> Option<Instant> {
        self.running.values().filter_map(|running| running.overdue).min()
    }

    /// Ends those that have not ended by themselves.
    pub fn end_overdue(&mut self) {
        let now = Instant::now();
        for running in self.running.values_mut().filter(|running| running.overdue.is_some_and(|at| at <= now))
        {
            running.overdue = None;
            // It may have ended just now.
            let _ = running.child.kill();
        }
    }

    pub fn labels(&self) -> Vec<String> {
        self.running.values().map(|running| running.label.clone()).collect()
    }

    /// Asks all to end, and ends those that have not after `patience`. Their own children (monitors)
    /// end with them.
    pub fn end_all(&mut self, patience: Duration) {
        for running in self.running.values() {
            let _ = kill_process(Pid::from_child(&running.child), Signal::TERM);
        }
        let deadline = Instant::now() + patience;
        let wait = |running: &mut Running| matches!(running.child.try_wait(), Ok(None));
        while self.running.values_mut().any(wait) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        for running in self.running.values_mut() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}
