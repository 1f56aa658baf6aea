//! The supervisor: one process for each machine that runs. It starts the machine's monitor, keeps its streams and its
//! state, obeys those who ask at its control socket, and starts the machine again where that is wanted.

mod cpu_quota;
mod input;
mod life;
mod outputs;
pub mod protocol;
mod server;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use guest_protocol::{Stream, WindowSize};
use rootfs_builder::image::format_time;

use crate::detached;
use crate::events;
use crate::home::{Home, private_directory};
use crate::machine::{
    Event, LogWriter, MachineConfig, MachineDirectory, MachineId, MachineLock, Machines, Outcome, State,
    Status, restart,
};
use crate::place::{Place, Socket};
use cpu_quota::CpuQuota;
use input::Input;
use life::{Happening, Life};
use outputs::Outputs;
use protocol::{Ended, FromClient, Reply, Request, ToClient};
use server::{Asker, Client};

/// The argument that makes a vmrun a supervisor.
pub const WORD: &str = "supervisor";

/// What a supervisor is told by the words after [`WORD`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub id: MachineId,
    /// The state directory.
    pub root: PathBuf,
    /// The size of a terminal for the process.
    pub window: WindowSize,
}

impl Order {
    /// The words of a command line that starts the supervisor.
    pub fn words(&self) -> Vec<OsString> {
        let WindowSize { rows, columns } = self.window;
        let mut words = vec![WORD.into(), self.id.as_str().into(), self.root.clone().into()];
        words.extend([rows, columns].map(|number| number.to_string().into()));
        words
    }

    /// What the words of a command line say, if they are for a supervisor.
    pub fn parse(mut words: impl Iterator<Item = OsString>) -> Option<Order> {
        if words.next()? != WORD {
            return None;
        }
        let id = MachineId::parse(words.next()?.to_str()?)?;
        let root = words.next()?.into();
        let mut number = || words.next()?.to_str()?.parse().ok();
        Some(Order { id, root, window: WindowSize { rows: number()?, columns: number()? } })
    }
}

/// What a supervisor says on its standard output when its socket is there.
pub const READY: &str = "ready\n";

/// How long the process's output waits for the one who started the machine.
const BEGIN_PATIENCE: Duration = Duration::from_secs(10);

/// Messages for those who attach later.
const MAX_PROGRESS: usize = 256;

pub struct Supervisor {
    home: Home,
    machine: MachineDirectory,
    config: MachineConfig,
    state: State,
    happen: Sender<Happening>,
    happenings: Receiver<Happening>,
    clients: Vec<Client>,
    outputs: Outputs,
    input: Arc<Input>,
    /// Who is answered when the machine has ended.
    waiting: Vec<Asker>,
    /// The first client has all its streams.
    begun: bool,
    begin_until: Instant,
    /// What those are told who attach: how far the machine has come.
    progress: Vec<ToClient>,
    /// It stays when it has ended, whatever it was made for: its disk must be whole then.
    kept: bool,
    /// The process has been started once: what cannot be started is not tried again.
    has_run: bool,
    /// The size of the terminal, as one who is attached has told it last.
    window: WindowSize,
}

/// The body of the supervisor process.
pub fn main(order: &Order) -> Result<u8> {
    // Without a terminal, whose signals are for the client.
    rustix::process::setsid().ok();
    detached::close_inherited();
    std::env::set_current_dir("/")?;
    let home = Home::locate(Some(&order.root))?;
    let machine = Machines::open(&home).find(order.id.as_str())?;
    let lock = machine.lock()?;
    let config = machine.config()?;
    let state = machine.written_state()?;
    let runtime = machine.runtime();
    private_directory(&runtime)?;
    let socket = runtime.join("control.sock");
    let _ = fs::remove_file(&socket);
    let listener =
        UnixListener::bind(&socket).with_context(|| format!("cannot listen at {}", socket.display()))?;
    let (happen, happenings) = channel();
    server::serve(listener, happen.clone())?;
    let log = config.keep_output.then(|| LogWriter::open(machine.output_log()));
    let mut supervisor = Supervisor {
        home,
        config,
        state: State {
            supervisor: Some(std::process::id()),
            runtime: Some(runtime.clone()),
            exit_code: None,
            ending: None,
            error: None,
            finished_at: None,
            restarts: 0,
            stopped_by_user: false,
            ..state
        },
        machine,
        happen,
        happenings,
        clients: Vec::new(),
        outputs: Outputs::new(log),
        input: Arc::default(),
        waiting: Vec::new(),
        begun: false,
        begin_until: Instant::now() + BEGIN_PATIENCE,
        progress: Vec::new(),
        kept: false,
        has_run: false,
        window: order.window,
    };
    supervisor.enter(Status::Running)?;
    io::stdout().write_all(READY.as_bytes())?;
    io::stdout().flush()?;
    let quota = supervisor.limit_cpu();
    let outcome = supervisor.live();
    drop(quota);
    let ended = supervisor.end(&outcome, lock);
    let _ = fs::remove_dir_all(&runtime);
    // The machine's next supervisor may come.
    ended.map(|_lock| outcome.code)
}

impl Supervisor {
    /// Where the host does not let it be limited, a machine runs all the same, and that is said.
    fn limit_cpu(&mut self) -> Option<CpuQuota> {
        let quota = CpuQuota::impose(self.machine.id().as_str(), self.config.resources.cpu_quota?);
        if let Err(error) = &quota {
            let (count, why) = (self.config.cpus, chain(error));
            let notice = format!("--cpus is a number of processors only, {count}, without a quota: {why}");
            self.tell_progress(ToClient::Notice(notice));
        }
        quota.ok()
    }

    /// Runs the machine, as often as its policy wants.
    fn live(&mut self) -> Outcome {
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            self.state.status = Status::Running;
            self.state.started_at = format_time(SystemTime::now());
            let outcome = match Life::start(self) {
                Ok(life) => life.run(self),
                Err(error) => Outcome::failed(chain(&error)),
            };
            let wants = self.config.restart.wants(outcome.code, self.state.restarts);
            if self.state.stopped_by_user || !wants || !self.has_run {
                return outcome;
            }
            failures = if begun.elapsed() >= restart::WELL { 0 } else { failures + 1 };
            self.tell_end(&outcome);
            self.await_next_life();
            match self.pause_before_restart(restart::pause(failures), &outcome) {
                Ok(true) => {}
                Ok(false) => return outcome,
                Err(error) => return Outcome::failed(chain(&error)),
            }
            self.state.restarts += 1;
        }
    }

    /// Who attaches from now on sees the machine's next life, and those who were there have seen all of the last.
    fn await_next_life(&mut self) {
        self.outputs.abandon();
        self.outputs.reopen();
        self.input.reopen();
        self.progress.clear();
    }

    /// Waits with the machine down; `false` when somebody stopped it meanwhile.
    fn pause_before_restart(&mut self, pause: Duration, outcome: &Outcome) -> Result<bool> {
        self.record("die", Some(outcome.code));
        self.state.status = Status::Restarting;
        self.state.monitor = None;
        self.state.exit_code = Some(outcome.code);
        self.state.finished_at = format_time(SystemTime::now());
        self.machine.write_state(&self.state)?;
        let until = Instant::now() + pause;
        loop {
            match self.happenings.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => return Ok(true),
                Err(RecvTimeoutError::Disconnected) => bail!("nothing more can happen to the machine"),
                Ok(Happening::Request(Request::Wait, asker)) => self.will_answer(asker),
                Ok(Happening::Request(request, asker)) if request.awaits_end() => {
                    self.state.stopped_by_user = true;
                    self.will_answer_end(&request, asker);
                    return Ok(false);
                }
                Ok(Happening::Request(_, asker)) => asker.answer(&Err("the machine is restarting".into())),
                Ok(happening) => self.client_happening(happening, None),
            }
        }
    }

    /// What has become of the machine is written before anybody is told.
    fn end(&mut self, outcome: &Outcome, lock: MachineLock) -> Result<Option<MachineLock>> {
        // One that was waiting for its restart has died before, and that has been told.
        if self.state.status != Status::Restarting {
            self.state.finished_at = format_time(SystemTime::now());
            self.record("die", Some(outcome.code));
        }
        self.state.status = Status::Exited;
        self.state.supervisor = None;
        self.state.monitor = None;
        self.state.runtime = None;
        self.state.exit_code = Some(outcome.code);
        self.state.ending = Some(outcome.ending);
        self.state.error.clone_from(&outcome.notice);
        let mut lock = Some(lock);
        let written = match lock.take_if(|_| self.is_removed()) {
            None => self.machine.write_state(&self.state),
            Some(lock) => {
                self.record("destroy", None);
                Machines::open(&self.home).remove(&self.machine, lock)
            }
        };
        self.await_client();
        self.tell_end(outcome);
        written.map(|()| lock)
    }

    /// The one who started the machine is told how it ended, even if it did so at once.
    fn await_client(&mut self) {
        loop {
            // Those who have come meanwhile are told, too.
            let left = if self.may_begin() { Duration::ZERO } else { self.begin_until - Instant::now() };
            match self.happenings.recv_timeout(left) {
                // It is gone already.
                Ok(Happening::Request(Request::Stop { keep: true, .. }, asker)) if self.is_removed() => {
                    asker.answer(&Err("the machine has just ended".into()));
                }
                Ok(Happening::Request(request, asker)) if request.awaits_end() => self.will_answer(asker),
                Ok(Happening::Request(_, asker)) => asker.answer(&Err("the machine has just ended".into())),
                Ok(happening) => self.client_happening(happening, None),
                Err(_) => return,
            }
        }
    }

    fn tell_end(&mut self, outcome: &Outcome) {
        let ended = Ended { code: outcome.code };
        for client in self.clients.drain(..) {
            if let Some(notice) = &outcome.notice {
                client.tell(&ToClient::Notice(notice.clone()));
            }
            client.tell(&ToClient::Ended(ended));
        }
        for asker in self.waiting.drain(..) {
            asker.answer(&Ok(ended));
        }
    }

    /// Tells how far the machine has come: also to the one who started it, and may not be here yet.
    fn tell_progress(&mut self, message: ToClient) {
        self.tell_all(&message);
        // The kernel's messages are for the one who started it; where it is, for all who come.
        let limit = match message {
            ToClient::Console(_) if self.begun => 0,
            ToClient::Console(_) => MAX_PROGRESS,
            _ => 2 * MAX_PROGRESS,
        };
        if self.progress.len() < limit {
            self.progress.push(message);
        }
    }

    fn tell_all(&mut self, message: &ToClient) {
        self.clients.retain(|client| client.tell(message));
    }

    /// What concerns the clients alone, whatever the machine does. `life` is the machine, if it runs.
    fn client_happening(&mut self, happening: Happening, life: Option<&mut Life>) {
        match happening {
            Happening::Attached(client, streams) => {
                for (stream, connection) in streams {
                    self.attach(stream, connection);
                }
                if self.progress.iter().all(|message| client.tell(message)) {
                    self.clients.push(client);
                }
            }
            Happening::Left(token) => self.clients.retain(|client| client.token != token),
            Happening::Said(message) => {
                match message {
                    FromClient::Begin => {
                        self.begun = true;
                        self.progress.retain(|message| !matches!(message, ToClient::Console(_)));
                    }
                    FromClient::Resize(window) => self.window = window,
                    FromClient::Signal(_) | FromClient::Refuse(_) => {}
                }
                if let Some(life) = life {
                    life.obey(message, self);
                }
            }
            _ => {}
        }
    }

    /// Output goes to the client; a terminal and standard input are read from it, too.
    fn attach(&mut self, stream: Stream, connection: UnixStream) {
        if matches!(stream, Stream::Stdin | Stream::Terminal)
            && let Ok(from) = connection.try_clone()
        {
            self.input.carry(from);
        }
        if stream != Stream::Stdin {
            self.outputs.attach(stream, connection);
        }
    }

    /// Answers a request that awaits the end, when the machine is ending already.
    fn will_answer_end(&mut self, request: &Request, asker: Asker) {
        self.kept |= matches!(request, Request::Stop { keep: true, .. });
        self.will_answer(asker);
    }

    /// Answers `asker` when the machine has ended.
    fn will_answer(&mut self, asker: Asker) {
        self.waiting.retain(|asker| !asker.has_left());
        self.waiting.push(asker);
    }

    fn record(&self, action: &str, exit_code: Option<u8>) {
        events::record(&self.home, action, &self.machine, &self.config, exit_code);
    }

    fn enter(&mut self, status: Status) -> Result<()> {
        self.state.status = status;
        self.machine.write_state(&self.state)
    }

    fn set_status(&mut self, status: Status) -> Reply {
        self.record(if status == Status::Paused { "pause" } else { "unpause" }, None);
        self.enter(status).map_err(|error| chain(&error))?;
        Ok(Ended::default())
    }

    /// The monitor's socket, which leads to the guest's vsock ports.
    fn vsock_socket(&self) -> Socket {
        Place::Here.socket(self.vsock_path())
    }

    fn vsock_path(&self) -> PathBuf {
        self.machine.runtime().join("vsock.sock")
    }

    /// Whether the machine goes when it has ended.
    fn is_removed(&self) -> bool {
        self.config.remove && !self.kept
    }

    fn may_begin(&self) -> bool {
        self.begun || Instant::now() >= self.begin_until
    }
}

/// An error and its causes in one line.
fn chain(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if line.ends_with(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text);
    }
    line
}

/// What the monitor says, as far as clients may want to know it.
fn for_clients(event: &Event) -> Option<ToClient> {
    match event {
        Event::Started { at } => Some(ToClient::Started { at: *at }),
        Event::Stamp { byte, at } => Some(ToClient::Stamp { byte: *byte, at: *at }),
        _ => None,
    }
}
