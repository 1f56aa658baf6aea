//! The emulated host's own command: starts processes there, and connects to sockets, for commands
//! outside. One thread; nothing that is asked for makes the others wait.

use std::env;
use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use guest_protocol::frame;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde::Serialize;
use signal_hook::consts::SIGTERM;

use super::children::Children;
use super::memory;
use super::port::open_port;
use super::request::{Answer, Asked, Census, Reason, Refusal, Request, Sight, Spawn, encoded};
use crate::emulate::mux::{Carrier, ChannelId, Event, Foreign, Mux};
use crate::emulate::qemu;
use crate::home;
use crate::machine::monotonic_time;
use crate::process_memory;

/// How long supervisors may take to end their machines.
const GRACE: Duration = Duration::from_secs(20);

/// How long, and how often, a socket is tried whose owner has not accepted those before us.
const BUSY_PATIENCE: Duration = Duration::from_secs(10);
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Memory that a machine's monitor and supervisor need beside the machine's own, in bytes.
const BESIDE: u64 = 16 << 20;

/// The name of what tells of SIGTERM.
const TERMINATED: Foreign = 0;

/// Serves until it is told to leave, or the other side is gone.
pub fn main() -> Result<u8> {
    let port = open_port(qemu::CONNECTIONS)?;
    super::allow_many_files();
    let (terminated, on_signal) = UnixStream::pair().context("cannot make a connection")?;
    signal_hook::low_level::pipe::register(SIGTERM, on_signal)?;
    let agent = Agent {
        copy: copy_program()?,
        carrier: Carrier::new(port, Mux::accepting())?,
        children: Children::default(),
        watchers: Vec::new(),
        busy: Vec::new(),
    };
    agent.carrier.watch(&terminated, TERMINATED)?;
    agent.serve()
}

struct Agent {
    /// A copy of this executable.
    copy: PathBuf,
    carrier: Carrier,
    children: Children,
    /// Who is told of each change.
    watchers: Vec<UnixStream>,
    /// Connections that wait for a socket's owner to accept others.
    busy: Vec<Busy>,
}

struct Busy {
    channel: ChannelId,
    path: Vec<u8>,
    until: Instant,
}

impl Agent {
    fn serve(mut self) -> Result<u8> {
        loop {
            for event in self.carrier.wait(self.timeout())? {
                match event {
                    Event::Opened(channel, asked) => match frame::take::<Asked>(&mut asked.clone()) {
                        Ok(Some(Asked { request: Request::Leave, .. })) => return Ok(self.leave()),
                        Ok(Some(asked)) => self.carry_out(channel, asked.request)?,
                        _ => self.refuse(channel, &Refusal::new(Reason::Other, "not understood"))?,
                    },
                    Event::Over(channel) => {
                        self.children.detach(channel);
                        self.busy.retain(|busy| busy.channel != channel);
                    }
                    Event::Ready(TERMINATED) => return Ok(self.leave()),
                    Event::Ready(name) => {
                        if let Some(pidfd) = self.children.take_ended(name) {
                            self.carrier.unwatch(&pidfd);
                            self.tell_watchers()?;
                        }
                    }
                }
            }
            for busy in std::mem::take(&mut self.busy) {
                self.connect(busy)?;
            }
            self.children.end_overdue();
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let overdue = self.children.deadline().map(|at| at.saturating_duration_since(Instant::now()));
        let busy = (!self.busy.is_empty()).then_some(BUSY_PAUSE);
        overdue.into_iter().chain(busy).min()
    }

    fn carry_out(&mut self, channel: ChannelId, request: Request) -> Result<()> {
        match request {
            Request::Connect(path) => {
                self.connect(Busy { channel, path, until: Instant::now() + BUSY_PATIENCE })
            }
            Request::Spawn(spawn) => match self.spawn(channel, &spawn) {
                Ok(()) => self.tell_watchers(),
                Err(refusal) => self.refuse(channel, &refusal),
            },
            Request::Census => self.answer(channel, &self.census()),
            Request::Look(processes) => {
                let memory = processes.into_iter().map(process_memory::proportional).collect();
                self.answer(channel, &Sight { clock: monotonic_time(), memory })
            }
            Request::Watch => {
                let (ours, theirs) = UnixStream::pair().context("cannot make a connection")?;
                self.carrier.attach(channel, &encoded(&Answer::Ok(()))?, theirs)?;
                ours.set_nonblocking(true)?;
                self.watchers.push(ours);
                self.tell_watchers()
            }
            Request::Status | Request::Stop { .. } | Request::Leave => {
                self.refuse(channel, &Refusal::new(Reason::Other, "this is the holder's"))
            }
        }
    }

    fn answer(&mut self, channel: ChannelId, value: &impl Serialize) -> Result<()> {
        let answer = [encoded(&Answer::Ok(()))?, encoded(value)?].concat();
        self.carrier.refuse(channel, &answer);
        Ok(())
    }

    fn refuse(&mut self, channel: ChannelId, refusal: &Refusal) -> Result<()> {
        self.carrier.refuse(channel, &encoded(&Answer::Err(refusal.clone()))?);
        Ok(())
    }

    fn connect(&mut self, busy: Busy) -> Result<()> {
        match connect_to(&busy.path) {
            Ok(stream) => self.carrier.attach(busy.channel, &encoded(&Answer::Ok(()))?, stream),
            Err(Errno::AGAIN) if Instant::now() < busy.until => {
                self.busy.push(busy);
                Ok(())
            }
            Err(error) => {
                let path = String::from_utf8_lossy(&busy.path).into_owned();
                let refusal = Refusal::system(&error.into(), &format!("cannot connect to {path}"));
                self.refuse(busy.channel, &refusal)
            }
        }
    }

    fn spawn(&mut self, channel: ChannelId, spawn: &Spawn) -> Result<(), Refusal> {
        let available = memory::available().unwrap_or(u64::MAX);
        if spawn.memory > 0 && spawn.memory.saturating_add(BESIDE) > available {
            let [needed, left, total] =
                [spawn.memory, available, memory::total().unwrap_or(available)].map(memory::shown);
            let message = format!(
                "a machine of {needed} does not fit into the emulated host, which has {left} of its {total} left"
            );
            return Err(Refusal::new(Reason::Memory, message));
        }
        let failed = |error: anyhow::Error| Refusal::new(Reason::Other, format!("{error:#}"));
        let accepted = encoded(&Answer::Ok(())).map_err(failed)?;
        let (ours, theirs) = UnixStream::pair().map_err(|error| failed(error.into()))?;
        let started = self.children.start(&self.copy, spawn, channel, theirs);
        let (name, pidfd) = started.map_err(failed)?;
        self.carrier.watch(pidfd, name).map_err(failed)?;
        self.carrier.attach(channel, &accepted, ours).map_err(failed)
    }

    fn census(&self) -> Census {
        Census {
            labels: self.children.labels(),
            memory: memory::total().unwrap_or(0),
            available: memory::available().unwrap_or(0),
        }
    }

    fn tell_watchers(&mut self) -> Result<()> {
        let census = encoded(&self.census())?;
        // One that does not read what it has asked for is told no more.
        self.watchers.retain_mut(|watcher| watcher.write_all(&census).is_ok());
        Ok(())
    }

    fn leave(mut self) -> u8 {
        self.children.end_all(GRACE);
        0
    }
}

/// Connects at once or not at all.
fn connect_to(path: &[u8]) -> Result<UnixStream, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

/// Copies this executable, and guest-init, to where no file of the host's is: those may be replaced
/// while this host runs, and what it then read of them would be of two builds.
fn copy_program() -> Result<PathBuf> {
    let own = env::current_exe().context("cannot find vmrun's own executable")?;
    let directory = Path::new("/run/vmrun/program");
    fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    for file in [own, home::beside_executable("guest-init")?] {
        let copied = file.file_name().map(|name| directory.join(name));
        let to = copied.context("vmrun's own executable has no name")?;
        fs::copy(&file, &to)
            .with_context(|| format!("cannot copy {} to {}", file.display(), to.display()))?;
    }
    let own = env::current_exe()?;
    Ok(directory.join(own.file_name().unwrap_or_default()))
}
