//! A machine for the files of one that does not run: the same image, kernel and disk, and no process.
//!
//! It is a process of its own, so that it can be where machines are (see [`Place`]). What starts it holds a
//! connection to it; when that ends, for whatever reason, the helper has the guest write back its disk and power
//! off.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use guest_protocol::{GuestMessage, Hello, HostMessage, Init, Stamp, frame};
use kernels::Kernel;
use serde::{Deserialize, Serialize};

use super::{
    Event, EventPlace, MachineConfig, MachineDirectory, MachineId, MachineLock, Machines, Monitor, connect,
    plan, tell_events,
};
use crate::home::{Home, private_directory};
use crate::place::{Place, Socket};

/// The argument that makes a vmrun a helper.
pub const WORD: &str = "helper-machine";

/// In bytes; a kernel's own floor may be higher.
const MEMORY: u64 = 256 << 20;

/// How long the guest may take to come up, on an emulated machine beside thirty others.
const START: Duration = Duration::from_secs(120);

/// How long it may take to write back its disk and power off.
const FAREWELL: Duration = Duration::from_secs(20);

/// How long a guest that comes up without its root may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What the helper says: one when the guest serves, and one when it has ended well.
type Word = std::result::Result<Serving, String>;

#[derive(Debug, Serialize, Deserialize)]
struct Serving {
    /// Leads to the guest's vsock ports.
    socket: PathBuf,
}

/// A helper that serves, as the command sees it that has started it. Ends with this value.
#[derive(Debug)]
pub struct HelperMachine {
    life: UnixStream,
    socket: Socket,
    _lock: Option<MachineLock>,
}

impl HelperMachine {
    /// Starts one for `machine`, which does not run and cannot be started meanwhile.
    pub fn start(home: &Home, machine: &MachineDirectory) -> Result<HelperMachine> {
        // The helper has the lock; where that is not seen from here, this command has it, too.
        let place = machine.place();
        let lock = if place.is_emulated() { Some(machine.lock()?) } else { None };
        let root = home.root().canonicalize().unwrap_or_else(|_| home.root().to_owned());
        let words: [OsString; 3] = [WORD.into(), machine.id().as_str().into(), root.into()];
        let life = place.attach(machine.id().as_str(), &words, MEMORY)?;
        life.set_read_timeout(Some(START))?;
        let word = frame::read::<Word>(&life).context("the machine's helper ended before it began")?;
        let Serving { socket } = word.map_err(|message| anyhow!(message))?;
        Ok(HelperMachine { life, socket: place.socket(socket), _lock: lock })
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Waits until everything is on the machine's disk, and the helper gone.
    pub fn finish(self) -> Result<()> {
        match self.end() {
            Some(Ok(_)) => Ok(()),
            Some(Err(message)) => bail!(message),
            None => bail!("the machine's helper was killed: what was changed may not have lasted"),
        }
    }

    fn end(&self) -> Option<Word> {
        let _ = self.life.shutdown(Shutdown::Write);
        let _ = self.life.set_read_timeout(Some(FAREWELL + LAST_WORDS));
        frame::read::<Word>(&self.life).ok()
    }
}

impl Drop for HelperMachine {
    fn drop(&mut self) {
        // Finished or not: the next command on the machine finds it free.
        let _ = self.end();
    }
}

/// What a helper is told by the words after [`WORD`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    id: MachineId,
    root: PathBuf,
}

impl Order {
    pub fn parse(mut words: impl Iterator<Item = OsString>) -> Option<Order> {
        if words.next()? != WORD {
            return None;
        }
        Some(Order { id: MachineId::parse(words.next()?.to_str()?)?, root: words.next()?.into() })
    }
}

/// The body of the helper process.
pub fn main(order: &Order) -> Result<u8> {
    let served = serve(order);
    let word = served.as_ref().map(|socket| Serving { socket: socket.clone() });
    say(&word.map_err(|error| format!("{error:#}")))?;
    Ok(if served.is_ok() { 0 } else { crate::FAILED })
}

fn serve(order: &Order) -> Result<PathBuf> {
    let home = Home::locate(Some(&order.root))?;
    let machine = Machines::open(&home).find(order.id.as_str())?;
    let _lock = machine.lock()?;
    let config = helpers_config(&home, machine.config()?)?;
    let runtime = Runtime::make(machine.runtime())?;
    let socket = runtime.0.join("vsock.sock");
    let plan = plan(&home, &machine, &config, None)?;
    let (happen, happenings) = channel();
    let (monitor, events) = Monitor::start(&plan.spec)?;
    spawn(&happen, move |happen| read_events(events, happen));
    let control = await_guest(&happenings, &happen, &Place::Here.socket(socket.clone()), &plan.kernel)?;
    say(&Ok(Serving { socket: socket.clone() }))?;
    spawn(&happen, |happen| {
        // Nothing is ever said: it ends.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = happen.send(Happening::Left);
    });
    let served = until_left(&happenings).and_then(|()| farewell(&happenings, &control));
    drop(monitor);
    served.map(|()| socket)
}

/// The machine with nothing of what it is for its own process.
fn helpers_config(home: &Home, config: MachineConfig) -> Result<MachineConfig> {
    let kernel = home.kernels()?.get(&config.kernel)?;
    Ok(MachineConfig {
        memory: MEMORY.max(kernel.minimum_memory),
        cpus: 1,
        init: Init::None,
        resources: Default::default(),
        console: false,
        // Whatever it was run with: what a command has done to its files lasts.
        flush: true,
        no_share: false,
        no_modules: true,
        ..config
    })
}

/// The directory of the sockets, while there are any.
struct Runtime(PathBuf);

impl Runtime {
    fn make(path: PathBuf) -> Result<Runtime> {
        private_directory(&path)?;
        let _ = fs::remove_file(path.join("vsock.sock"));
        Ok(Runtime(path))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

enum Happening {
    Monitor {
        event: Event,
        _place: EventPlace,
    },
    MonitorGone,
    Guest(GuestMessage),
    /// The command is done, or gone.
    Left,
}

/// Waits until the guest serves; returns its control stream.
fn await_guest(
    happenings: &Receiver<Happening>,
    happen: &Sender<Happening>,
    socket: &Socket,
    kernel: &Kernel,
) -> Result<UnixStream> {
    let (mut deadline, mut has_root, mut control) = (Instant::now() + START, false, None);
    loop {
        let happening = happenings.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        match happening.map_err(|_| anyhow!("the machine's helper did not come up"))? {
            Happening::Monitor { event: Event::Started { .. }, .. } => kernel.require_in_place()?,
            Happening::Monitor { event: Event::Stamp { byte, .. }, .. } => match Stamp::from_byte(byte) {
                Some(Stamp::RootfsReady) => has_root = true,
                Some(Stamp::Listening) if control.is_none() => {
                    let mut connections = connect(socket, &[Hello::Control])?;
                    let connection = connections.pop().context("the control stream is missing")?;
                    if has_root {
                        return Ok(connection);
                    }
                    let reader = connection.try_clone()?;
                    spawn(happen, move |happen| read_messages(reader, happen));
                    control = Some(connection);
                    deadline = Instant::now() + LAST_WORDS;
                }
                _ => {}
            },
            Happening::Guest(GuestMessage::Fault { message }) => {
                bail!("the machine's files cannot be reached: {message}")
            }
            happening => ended(happening)?,
        }
    }
}

fn until_left(happenings: &Receiver<Happening>) -> Result<()> {
    loop {
        match happenings.recv().context("nothing more can happen")? {
            Happening::Left => return Ok(()),
            happening => ended(happening)?,
        }
    }
}

/// Has the guest write back everything and power off.
fn farewell(happenings: &Receiver<Happening>, control: &UnixStream) -> Result<()> {
    let _ = frame::write(control, &HostMessage::Close);
    let deadline = Instant::now() + FAREWELL;
    loop {
        match happenings.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Happening::Monitor { event: Event::Ended { .. }, .. } | Happening::MonitorGone) => {
                return Ok(());
            }
            Ok(Happening::Monitor { event: Event::Failed { message }, .. }) => bail!(message),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                bail!("the machine's helper did not power off: what was changed may not have lasted")
            }
        }
    }
}

/// An error if this is the end.
fn ended(happening: Happening) -> Result<()> {
    match happening {
        Happening::Monitor { event: Event::Failed { message }, .. } => bail!(message),
        Happening::Monitor { event: Event::Ended { end, .. }, .. } => {
            bail!("the machine's helper ended by itself: {end:?}")
        }
        Happening::MonitorGone => bail!("the helper's monitor process died: see `dmesg` for why"),
        _ => Ok(()),
    }
}

fn read_events(events: impl Read, happen: Sender<Happening>) {
    if tell_events(events, |event, place| happen.send(Happening::Monitor { event, _place: place }).is_ok()) {
        let _ = happen.send(Happening::MonitorGone);
    }
}

fn read_messages(from: UnixStream, happen: Sender<Happening>) {
    while let Ok(message) = frame::read::<GuestMessage>(&from) {
        if happen.send(Happening::Guest(message)).is_err() {
            return;
        }
    }
}

fn spawn(happen: &Sender<Happening>, work: impl FnOnce(Sender<Happening>) + Send + 'static) {
    let happen = happen.clone();
    thread::spawn(move || work(happen));
}

/// Not by way of Rust's standard output, which waits for whole lines.
fn say(word: &Word) -> Result<()> {
    let out = fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
    Ok(frame::write(&out, word)?)
}
