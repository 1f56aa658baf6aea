//! What a command has of the emulated host: it is started when it is needed, and asked for processes
//! and connections.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use guest_protocol::frame;
use serde::de::DeserializeOwned;

use super::files::Files;
use super::memory;
use super::request::{
    Answer, Asked, Census, Connection, FileIdentity, Reason, Refusal, Request, Sight, Spawn, Status,
};
use crate::detached;
use crate::emulate;
use crate::home::Home;
use crate::output::warn;

/// How long one vmrun may wait for another one's start of the host, or its end.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long the answer to a request may take.
const ANSWER: Duration = Duration::from_secs(60);

/// How often a host that does not answer is asked again, and after what pause.
const TRIES: usize = 8;
const PAUSE: Duration = Duration::from_millis(100);

/// The emulated host of one state directory, whether it runs or not.
#[derive(Debug, Clone)]
pub struct EmulatedHost {
    files: Files,
}

/// A vmrun that is wanted in the emulated host.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The machine it is for, or what else it is, as `vmrun emulate status` shows it.
    pub label: &'a str,
    pub words: &'a [OsString],
    /// The machine's memory in bytes.
    pub memory: u64,
}

/// Why a request was not granted.
enum Denied {
    NotRunning,
    /// The host ended, or had no room for one more connection, before it answered.
    Unanswered,
    Refused(Refusal),
}

impl EmulatedHost {
    /// The one of the state directory `home`.
    pub fn new(home: &Path) -> EmulatedHost {
        EmulatedHost { files: Files::new(home) }
    }

    /// Connects to the Unix socket at `path` in the emulated host. Where no host runs there is none.
    pub fn connect(&self, path: &Path) -> io::Result<UnixStream> {
        for _ in 0..TRIES {
            match self.ask(Request::Connect(path.as_os_str().as_bytes().to_vec())) {
                Ok(stream) => return Ok(stream),
                Err(Denied::NotRunning) => return Err(ErrorKind::ConnectionRefused.into()),
                Err(Denied::Unanswered) => thread::sleep(PAUSE),
                Err(Denied::Refused(refusal)) => return Err(refusal.into()),
            }
        }
        Err(ErrorKind::ConnectionAborted.into())
    }

    /// Starts a vmrun in the emulated host, which is started first if need be.
    pub fn spawn(&self, wanted: &Wanted<'_>, connection: Connection) -> Result<UnixStream> {
        let request = Request::Spawn(spawn(wanted, connection)?);
        // A host that is about to end, or has to make room for another one, is one more round.
        for _ in 0..TRIES {
            let refusal = match self.ask(request.clone()) {
                Ok(stream) => return Ok(stream),
                Err(Denied::NotRunning) => {
                    self.start(wanted.memory)?;
                    continue;
                }
                Err(Denied::Unanswered) => {
                    thread::sleep(PAUSE);
                    continue;
                }
                Err(Denied::Refused(refusal)) => refusal,
            };
            match refusal.reason {
                // Unless machines run in it, nobody minds another host.
                Reason::OtherProgram | Reason::Memory => {
                    if refusal.reason == Reason::Memory && self.cannot_grow(wanted.memory)? {
                        bail!("{}: VMRUN_EMULATED_MEMORY sets how much it has", refusal.message);
                    }
                    if self.stop(false).is_err() {
                        bail!(
                            "{}: stop machines (`vmrun emulate status` lists them), or all of it with `vmrun emulate stop --force`",
                            refusal.message
                        );
                    }
                }
                _ => bail!(refusal.message),
            }
        }
        bail!("the emulated host ends whenever it is asked for something: see {}", self.files.log().display())
    }

    /// Whether a new host would be too small for such a machine, too.
    fn cannot_grow(&self, machine: u64) -> Result<bool> {
        Ok(memory::of_new_host(machine)? <= machine)
    }

    /// Starts the host, unless another vmrun just has.
    fn start(&self, machine: u64) -> Result<()> {
        self.files.make_directory()?;
        let _start = self.files.lock_start(PATIENCE)?;
        // One that ends, or that starts without its starter, is waited for: two would have the same
        // machines.
        let deadline = Instant::now() + PATIENCE;
        while self.files.lock_life(Duration::ZERO)?.is_none() {
            if self.answers() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("the emulated host does not answer: see {}", self.files.log().display());
            }
            thread::sleep(Duration::from_millis(20));
        }
        emulate::check(&Home::locate(Some(&self.files.home))?)?;
        let memory = memory::of_new_host(machine)?;
        warn(
            "vmrun: no hardware virtualization here: starting an emulated host, which is slow (see `vmrun doctor`)",
        );
        let log = File::create(self.files.log());
        let log = log.with_context(|| format!("cannot write {}", self.files.log().display()))?;
        let mut command =
            detached::command(env::current_exe().context("cannot find vmrun's own executable")?);
        command.arg("--root").arg(&self.files.home).arg("emulated-host");
        command.arg(memory.to_string());
        let mut holder = command.stderr(log).spawn().context("cannot start the emulated host")?;
        loop {
            if self.answers() {
                return Ok(());
            }
            if let Some(status) = holder.try_wait()? {
                let complaint = self.files.last_complaint();
                bail!("the emulated host did not start ({status}): {complaint}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts the host, if it does not run, for machines of `machine` bytes.
    pub fn awaken(&self, machine: u64) -> Result<()> {
        if self.answers() { Ok(()) } else { self.start(machine) }
    }

    fn answers(&self) -> bool {
        self.files.socket().is_some_and(|socket| UnixStream::connect(socket).is_ok())
    }

    /// What the host is and what runs in it; `None` when it does not run.
    pub fn status(&self) -> Result<Option<(Status, Census)>> {
        let status = self.question(Request::Status)?;
        let census = self.question(Request::Census)?;
        Ok(status.zip(census))
    }

    /// The time there, and what processes take; `None` when it does not run.
    pub fn look(&self, processes: &[u32]) -> Result<Option<Sight>> {
        self.question(Request::Look(processes.to_vec()))
    }

    fn question<T: DeserializeOwned>(&self, request: Request) -> Result<Option<T>> {
        match self.ask(request) {
            Ok(mut stream) => Ok(Some(frame::read(&mut stream)?)),
            Err(Denied::NotRunning | Denied::Unanswered) => Ok(None),
            Err(Denied::Refused(refusal)) => bail!(refusal.message),
        }
    }

    /// Ends the host and waits for that; `false` when it did not run. Machines in it end with it, if
    /// `force`, else they are in the way.
    pub fn stop(&self, force: bool) -> Result<bool> {
        match self.ask(Request::Stop { force }) {
            Ok(_) => {}
            Err(Denied::NotRunning) => return Ok(false),
            // It ends already.
            Err(Denied::Unanswered) => {}
            Err(Denied::Refused(refusal)) if refusal.reason == Reason::InUse => {
                bail!("machines run in the emulated host: `vmrun stop` them first, or add --force")
            }
            Err(Denied::Refused(refusal)) => bail!(refusal.message),
        }
        self.await_end()?;
        Ok(true)
    }

    fn await_end(&self) -> Result<()> {
        self.files.make_directory()?;
        match self.files.lock_life(PATIENCE)? {
            Some(_) => Ok(()),
            None => bail!("the emulated host does not end: see {}", self.files.log().display()),
        }
    }

    fn ask(&self, request: Request) -> Result<UnixStream, Denied> {
        let broken =
            |error: anyhow::Error| Denied::Refused(Refusal::new(Reason::Other, format!("{error:#}")));
        let home = FileIdentity::of(&self.files.home).map_err(broken)?;
        // A socket that is not there, or that nobody listens on, is a host that does not run.
        let socket = self.files.socket().ok_or(Denied::NotRunning)?;
        let mut stream = UnixStream::connect(socket).map_err(|_| Denied::NotRunning)?;
        frame::write(&stream, &Asked { home, request }).map_err(|_| Denied::Unanswered)?;
        let _ = stream.set_read_timeout(Some(ANSWER));
        let answer = frame::read::<Answer>(&mut stream).map_err(|_| Denied::Unanswered)?;
        let _ = stream.set_read_timeout(None);
        answer.map_err(|refusal| match refusal.reason {
            // It serves the directory that this one is a copy of.
            Reason::OtherHome => Denied::NotRunning,
            _ => Denied::Refused(refusal),
        })?;
        Ok(stream)
    }
}

fn spawn(wanted: &Wanted<'_>, connection: Connection) -> Result<Spawn> {
    let own = env::vars_os().filter(|(name, _)| {
        let name = name.as_bytes();
        name.starts_with(b"VMRUN_") && name != b"VMRUN_HOME"
    });
    let spawn = Spawn {
        program: FileIdentity::of(&env::current_exe().context("cannot find vmrun's own executable")?)?,
        label: wanted.label.to_owned(),
        words: wanted.words.iter().map(|word| word.as_bytes().to_vec()).collect(),
        env: own.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect(),
        memory: wanted.memory,
        connection,
    };
    Ok(spawn)
}
