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
        let running = Running { child, label: spawn.label.clone(), attached, pidfd };
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

    /// Ends the child that is attached to that channel.
    pub fn end_attached(&mut self, channel: ChannelId) {
        for running in self.running.values_mut().filter(|running| running.attached == Some(channel)) {
            // It may have ended by itself.
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
