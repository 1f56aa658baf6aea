//! The process that holds the emulated host: QEMU is its child and ends with it.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use guest_protocol::{Process, frame};

use super::files::Files;
use super::request::{Answer, Asked, Census, FileIdentity, Reason, Refusal, Request, Status, encoded};
use crate::detached;
use crate::emulate::mux::{Carrier, Event, Foreign, Mux};
use crate::emulate::session::Session;
use crate::emulate::{EmulateOptions, boot, home_variable};
use crate::home::Home;
use crate::output::warn;

/// How long the emulated host may take to start.
const START: Duration = Duration::from_secs(150);

/// How long it may take to end.
const LEAVE: Duration = Duration::from_secs(60);

/// How long it stays when nothing runs in it, unless VMRUN_EMULATED_LINGER says otherwise (seconds).
const LINGER: Duration = Duration::from_secs(300);

/// How long the lock of the last host may still be looked at.
const SHORT: Duration = Duration::from_secs(2);

/// How often an unused host looks whether its state directory is still there.
const LOOK: Duration = Duration::from_secs(10);

/// How many clients may be about to say what they want.
const MAX_UNDECIDED: usize = 256;

const LISTENER: Foreign = 0;
const WATCH: Foreign = 1;
const FIRST_CLIENT: Foreign = 2;

/// Holds an emulated host with `memory` bytes until nobody has used it for a while.
pub fn main(home: &Home, memory: u64) -> Result<u8> {
    detached::close_inherited();
    super::allow_many_files();
    let files = Files::new(home.root());
    let Some(_life) = files.lock_life(SHORT)? else { bail!("the emulated host runs already") };
    files.clear();
    let words = [env::current_exe()?.into_os_string(), "emulated-agent".into()];
    let options = EmulateOptions {
        memory,
        cpus: 1,
        icount: false,
        kernel: None,
        write_back: false,
        command: words.into(),
    };
    let (qemu, mut sockets) = boot(home, &options, agent(&options, &files), true)?;
    let port = sockets.connections.take().context("QEMU has no port for connections")?;
    port.set_nonblocking(true)?;
    let socket = files.new_socket()?;
    let status = Status { since: now(), qemu: qemu.pid(), memory };
    let holder = Holder {
        home: FileIdentity::of(&files.home)?,
        program: FileIdentity::of(&env::current_exe()?)?,
        carrier: Carrier::new(port.into(), Mux::opening())?,
        status,
        files: files.clone(),
        socket: socket.clone(),
        linger: linger(),
        listener: None,
        census: None,
        censuses: Vec::new(),
        watch: None,
        undecided: BTreeMap::new(),
        next: FIRST_CLIENT,
        channels: 0,
        idle_since: Instant::now(),
        deadline: Some(Instant::now() + START),
    };
    thread::spawn(move || {
        // It only ends with the port, whose end is that of QEMU: the session tells of it. So this is
        // for what is noticed by nobody else.
        if let Err(error) = holder.serve() {
            warn(&format!("vmrun: the emulated host's connections end: {error:#}"));
        }
    });
    let outcome = Session::new(qemu, sockets)?.until_the_end();
    files.withdraw(&socket);
    outcome
}

/// The emulated host's command. Of this environment it has what is vmrun's own.
fn agent(options: &EmulateOptions, files: &Files) -> Process {
    let own = env::vars_os().filter(|(name, _)| {
        let name = name.as_bytes();
        name == b"PATH" || name.starts_with(b"VMRUN_") && name != b"VMRUN_HOME"
    });
    let own = own.map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let fixed = [b"HOME=/root".to_vec(), home_variable(&files.home)];
    Process {
        args: options.command.iter().map(|word| word.as_bytes().to_vec()).collect(),
        env: own.chain(fixed).collect(),
        cwd: b"/".to_vec(),
        ..Process::default()
    }
}

struct Holder {
    home: FileIdentity,
    program: FileIdentity,
    carrier: Carrier,
    status: Status,
    files: Files,
    socket: PathBuf,
    linger: Duration,
    /// Once the emulated host has started, until it ends.
    listener: Option<UnixListener>,
    /// What runs in the emulated host, once it has said so.
    census: Option<Census>,
    /// The beginning of the next one.
    censuses: Vec<u8>,
    watch: Option<UnixStream>,
    undecided: BTreeMap<Foreign, Undecided>,
    next: Foreign,
    /// How many clients are connected to something.
    channels: usize,
    idle_since: Instant,
    /// When it has to have started, or ended.
    deadline: Option<Instant>,
}

/// A client that has not said all of what it wants.
struct Undecided {
    stream: UnixStream,
    said: Vec<u8>,
}

impl Holder {
    fn serve(mut self) -> Result<()> {
        let watch = self.ask(Request::Watch)?;
        self.carrier.watch(&watch, WATCH)?;
        self.watch = Some(watch);
        loop {
            for event in self.carrier.wait(self.timeout())? {
                match event {
                    Event::Ready(LISTENER) => self.accept(),
                    Event::Ready(WATCH) => self.read_census()?,
                    Event::Ready(client) => self.hear(client)?,
                    Event::Over(_) => {
                        self.channels = self.channels.saturating_sub(1);
                        self.idle_since = Instant::now();
                    }
                    Event::Opened(..) => bail!("the emulated host asks for something"),
                }
            }
            self.keep_time()?;
        }
    }

    /// A channel of the holder's own.
    fn ask(&mut self, request: Request) -> Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair().context("cannot make a connection")?;
        let asked = encoded(&Asked { home: self.home, request })?;
        self.carrier.open(&asked, theirs)?.context("too many connections")?;
        ours.set_nonblocking(true)?;
        Ok(ours)
    }

    fn timeout(&self) -> Option<Duration> {
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        if let Some(deadline) = self.deadline {
            return Some(left(deadline));
        }
        self.is_idle().then(|| left(self.idle_since + self.linger).min(LOOK))
    }

    fn is_idle(&self) -> bool {
        // The holder's own channel is open for as long as the host runs.
        self.channels == 0 && self.census.as_ref().is_some_and(|census| census.labels.is_empty())
    }

    fn keep_time(&mut self) -> Result<()> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let what = if self.census.is_some() { "end" } else { "start" };
            warn(&format!("vmrun: the emulated host did not {what}, and was stopped"));
            self.files.withdraw(&self.socket);
            // QEMU ends with this process.
            std::process::exit(1);
        }
        if self.deadline.is_none() && self.is_idle() {
            let unused = self.idle_since.elapsed() >= self.linger;
            let replaced = FileIdentity::of(&self.files.home).ok() != Some(self.home);
            if unused || replaced {
                self.leave()?;
            }
        }
        Ok(())
    }

    /// Takes no more clients, and lets the emulated host end.
    fn leave(&mut self) -> Result<()> {
        if let Some(listener) = self.listener.take() {
            self.carrier.unwatch(&listener);
            self.files.withdraw(&self.socket);
        }
        self.deadline = Some(Instant::now() + LEAVE);
        self.ask(Request::Leave).map(drop)
    }

    fn read_census(&mut self) -> Result<()> {
        let Some(watch) = &mut self.watch else { return Ok(()) };
        let mut piece = [0; 4096];
        match watch.read(&mut piece) {
            Ok(0) => bail!("the emulated host's agent is gone"),
            Ok(length) => self.censuses.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if self.census.is_none() {
            match frame::take::<Answer>(&mut self.censuses)? {
                Some(Ok(())) => self.census = Some(Census::default()),
                Some(Err(refusal)) => bail!(refusal.message),
                None => return Ok(()),
            }
        }
        while let Some(census) = frame::take(&mut self.censuses)? {
            self.census = Some(census);
            self.idle_since = Instant::now();
            if self.listener.is_none() && self.deadline.take().is_some() {
                self.listen()?;
            }
        }
        Ok(())
    }

    fn listen(&mut self) -> Result<()> {
        let listener = UnixListener::bind(&self.socket)
            .with_context(|| format!("cannot listen on {}", self.socket.display()))?;
        listener.set_nonblocking(true)?;
        self.carrier.watch(&listener, LISTENER)?;
        self.listener = Some(listener);
        self.files.publish(&self.socket)
    }

    fn accept(&mut self) {
        // A client that has left, or no descriptor for it: it sees its connection end.
        let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) else { return };
        if self.undecided.len() >= MAX_UNDECIDED
            && let Some((_, oldest)) = self.undecided.pop_first()
        {
            self.carrier.unwatch(&oldest.stream);
        }
        let name = self.next;
        self.next = self.next.checked_add(1).unwrap_or(FIRST_CLIENT);
        if stream.set_nonblocking(true).is_ok() && self.carrier.watch(&stream, name).is_ok() {
            self.undecided.insert(name, Undecided { stream, said: Vec::new() });
        }
    }

    /// Hears what a client says; what follows its request is left for whom it asks for.
    fn hear(&mut self, name: Foreign) -> Result<()> {
        let Some(client) = self.undecided.get_mut(&name) else { return Ok(()) };
        let heard = client.hear();
        if let Ok(None) = heard {
            return Ok(());
        }
        let Some(Undecided { stream, .. }) = self.undecided.remove(&name) else { return Ok(()) };
        self.carrier.unwatch(&stream);
        // Whoever says something else sees the connection end.
        let Ok(Some(asked)) = heard else { return Ok(()) };
        self.decide(stream, asked)
    }

    fn decide(&mut self, stream: UnixStream, asked: Asked) -> Result<()> {
        if asked.home != self.home {
            return answer(
                &stream,
                Err(Refusal::new(Reason::OtherHome, "it serves another state directory")),
            );
        }
        match &asked.request {
            Request::Status => {
                answer(&stream, Ok(()))?;
                // A client that does not wait for it does not need it.
                let _ = frame::write(&stream, &self.status);
                Ok(())
            }
            Request::Stop { force } => {
                let labels = self.census.iter().flat_map(|census| census.labels.clone());
                let labels: Vec<String> = labels.collect();
                if !labels.is_empty() && !force {
                    return answer(&stream, Err(Refusal::new(Reason::InUse, labels.join(", "))));
                }
                answer(&stream, Ok(()))?;
                self.leave()
            }
            Request::Spawn(spawn) if spawn.program != self.program => {
                let message = "another build of vmrun runs in the emulated host";
                answer(&stream, Err(Refusal::new(Reason::OtherProgram, message)))
            }
            Request::Connect(_) | Request::Spawn(_) | Request::Census | Request::Look(_) => {
                if self.carrier.open(&encoded(&asked)?, stream)?.is_some() {
                    self.channels += 1;
                }
                Ok(())
            }
            Request::Watch | Request::Leave => {
                answer(&stream, Err(Refusal::new(Reason::Other, "this is the holder's")))
            }
        }
    }
}

impl Undecided {
    /// The request, once it has come whole.
    fn hear(&mut self) -> io::Result<Option<Asked>> {
        loop {
            let wanted = match self.said.first_chunk::<4>() {
                None => 4,
                Some(length) => 4 + u32::from_le_bytes(*length) as usize,
            };
            if wanted > frame::MAX_FRAME {
                return Err(ErrorKind::InvalidData.into());
            }
            let missing = wanted - self.said.len();
            if missing == 0 {
                let asked = frame::take(&mut self.said);
                return asked.map_err(|_| ErrorKind::InvalidData.into());
            }
            let begin = self.said.len();
            self.said.resize(wanted, 0);
            let read = self.stream.read(&mut self.said[begin..]);
            self.said.truncate(begin + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Answers a client that is not connected to anything.
fn answer(mut stream: &UnixStream, answer: Answer) -> Result<()> {
    // One that has left needs no answer.
    let _ = stream.write_all(&encoded(&answer)?);
    Ok(())
}

fn linger() -> Duration {
    let seconds = env::var("VMRUN_EMULATED_LINGER").ok().and_then(|text| text.parse().ok());
    seconds.map_or(LINGER, Duration::from_secs)
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
