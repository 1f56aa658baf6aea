//! One life of a machine: from its monitor's start to its end.

mod connections;
mod requests;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use guest_protocol::{GuestMessage, Hello, HostMessage, Stamp, Stream, frame};
use kernels::Kernel;
use rootfs_builder::store::Image;
use vmm::{End, Trouble};

pub use self::connections::Connected;
use self::connections::Streams;
use self::requests::{Harder, Timed};
use super::protocol::{FromClient, Request, ToClient};
use super::server::{Asker, Client};
use super::{Supervisor, for_clients};
use crate::machine::{
    Ending, Event, EventPlace, KernelLog, Monitor, Outcome, connect_within, plan, tell_events,
};

/// How many lines of the kernel's log are shown when it panics.
const PANIC_LINES: usize = 12;

/// After its command has ended, a machine gets this long to hand over its kernel's log.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// How long a machine may take to write back its disk and power off.
const FAREWELL: Duration = Duration::from_secs(20);

/// How long to wait for what an ended monitor has left in its pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The longest kernel log that is kept, in bytes.
const MAX_LOG: u64 = 4 << 20;

/// How long a guest may take nothing of what it is told.
const DEAFNESS: Duration = Duration::from_secs(1);

/// How many messages wait for the control stream; a guest that lets it wait misses what is more.
const MAX_UNTOLD: usize = 64;

const KILL: u8 = 9;
const STACK: usize = 128 << 10;

/// Something that happened, from whichever side.
pub enum Happening {
    Monitor {
        event: Event,
        _place: EventPlace,
    },
    MonitorGone,
    /// The guest has accepted what we connected to, or has not.
    Connected {
        life: u32,
        what: Result<Connected>,
    },
    Guest(GuestMessage),
    Attached(Client, Vec<(Stream, UnixStream)>),
    Said(FromClient),
    Left(u64),
    Request(Request, Asker),
    /// All of one of the process's outputs has been carried.
    OutputOver {
        generation: u32,
    },
}

/// A machine that runs.
pub struct Life {
    _image: Image,
    kernel: Kernel,
    monitor: Monitor,
    log: KernelLog,
    /// The control stream, from when guest-init listens.
    control: Option<UnixStream>,
    /// guest-init listens, and there may be a process, which the control stream is not there for yet: what it is to
    /// be told.
    untold: Option<Vec<HostMessage>>,
    /// What is to be told of the process's start, once there is a control stream.
    process_started: Option<ToClient>,
    streams: Streams,
    /// The guest has not taken what it was told.
    deaf: bool,
    monitor_gone: bool,
    /// The guest's last word, while output is still on its way.
    last_word: Option<GuestMessage>,
    /// When the next, harder way to end the machine is due.
    harder: Option<(Instant, Harder)>,
    /// Asked for from outside, to be the end's exit code.
    killed_by: Option<u8>,
    troubles: Vec<Trouble>,
}

impl Life {
    /// Plans the machine anew and starts its monitor.
    pub fn start(supervisor: &mut Supervisor) -> Result<Life> {
        let config = &supervisor.config;
        let process = config.process(config.tty.then_some(supervisor.window));
        let plan = plan(&supervisor.home, &supervisor.machine, config, Some(process))?;
        let state = &mut supervisor.state;
        state.rootfs_device = Some(plan.rootfs.name().to_owned());
        state.rootfs_reason = Some(plan.rootfs.reason.clone());
        state.rootfs_private = plan.rootfs.private;
        state.rootfs_format = Some(plan.rootfs.format_name().to_owned());
        supervisor
            .tell_progress(ToClient::Planned { machine: plan.to_string(), rootfs: plan.rootfs.to_string() });
        for remark in &plan.remarks {
            supervisor.tell_progress(ToClient::Notice(remark.clone()));
        }
        let path = supervisor.machine.kernel_log();
        let file = match supervisor.config.remove {
            true => None,
            false => Some(
                std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?,
            ),
        };
        // A monitor that was killed has left its socket.
        let _ = std::fs::remove_file(supervisor.vsock_path());
        let (monitor, events) = Monitor::start(&plan.spec)?;
        supervisor.state.monitor = Some(monitor.id());
        supervisor.machine.write_state(&supervisor.state)?;
        let happen = supervisor.happen.clone();
        thread::Builder::new().stack_size(STACK).spawn(move || read_events(events, &happen))?;
        Ok(Life {
            _image: plan.image,
            kernel: plan.kernel,
            monitor,
            log: KernelLog::new(file),
            control: None,
            untold: None,
            process_started: None,
            streams: Streams::Missing,
            deaf: false,
            monitor_gone: false,
            last_word: None,
            harder: None,
            killed_by: None,
            troubles: Vec::new(),
        })
    }

    /// Attends the machine to its end.
    pub fn run(mut self, supervisor: &mut Supervisor) -> Outcome {
        let end = self.until_the_end(supervisor);
        supervisor.input.end();
        drop(self.monitor);
        collect_rest(supervisor, &mut self.troubles, &mut self.log, self.monitor_gone);
        supervisor.outputs.abandon();
        for trouble in &self.troubles {
            supervisor.tell_all(&ToClient::Notice(in_words(trouble)));
        }
        if let Some(code) = self.killed_by {
            return Outcome::stopped(code);
        }
        // What guest-init could tell nobody but the kernel's log, before it switched the machine off.
        let complaint = self.log.complaint().filter(|_| self.control.is_none());
        match (end, complaint) {
            (Err(_) | Ok(Outcome { ending: Ending::Crash | Ending::Process, .. }), Some(complaint)) => {
                Outcome::failed(format!("the machine could not be brought up: {complaint}"))
            }
            (Ok(outcome), _) => outcome,
            (Err(error), None) => Outcome::failed(super::chain(&error)),
        }
    }

    fn until_the_end(&mut self, supervisor: &mut Supervisor) -> Result<Outcome> {
        loop {
            if self.control.is_some() && self.streams == Streams::Missing && supervisor.may_begin() {
                self.connect_streams(supervisor)?;
            }
            if self.last_word.is_some() && self.streams != Streams::Coming && supervisor.outputs.is_over() {
                return Ok(self.farewell(supervisor));
            }
            // Also when there is always something to do.
            if let Some(outcome) = self.be_harder(supervisor) {
                return Ok(outcome);
            }
            let happening = match self.next_deadline(supervisor) {
                None => supervisor.happenings.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => supervisor.happenings.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match happening {
                Ok(happening) => {
                    if let Some(outcome) = self.happened(happening, supervisor)? {
                        return Ok(outcome);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("nothing more can happen to the machine"),
            }
        }
    }

    fn next_deadline(&self, supervisor: &Supervisor) -> Option<Instant> {
        let begin = (self.streams == Streams::Missing && !supervisor.begun).then_some(supervisor.begin_until);
        self.harder.map(|(at, _)| at).into_iter().chain(begin).min()
    }

    fn happened(&mut self, happening: Happening, supervisor: &mut Supervisor) -> Result<Option<Outcome>> {
        match happening {
            Happening::Monitor { event, .. } => return self.event(event, supervisor),
            Happening::Connected { life, what } if life == supervisor.state.restarts => {
                self.connected(what, supervisor)?;
            }
            Happening::Connected { .. } => {}
            Happening::MonitorGone => {
                self.monitor_gone = true;
                return Ok(Some(match self.last_word.take() {
                    Some(message) => Outcome::of(message, "the machine"),
                    None => Outcome {
                        ending: Ending::Failed,
                        code: 128 + KILL,
                        notice: Some("the monitor process died: see `dmesg` for why".into()),
                    },
                }));
            }
            // The guest says one last word; more would be a lie.
            Happening::Guest(message) if self.last_word.is_none() => {
                let ran = matches!(message, GuestMessage::Exited(_));
                self.last_word = Some(message);
                supervisor.has_run |= ran;
                supervisor.input.end();
                if !ran {
                    self.streams = Streams::There;
                    supervisor.outputs.abandon();
                } else if self.streams == Streams::Missing {
                    // It ended before anybody came: its output is there to be taken.
                    supervisor.begun = true;
                    self.connect_streams(supervisor)?;
                }
            }
            Happening::Guest(_) => {}
            Happening::OutputOver { generation } => supervisor.outputs.one_is_over(generation),
            Happening::Request(request, asker) => {
                if let Some(outcome) = self.asked(request, asker, supervisor) {
                    return Ok(Some(outcome));
                }
            }
            happening => supervisor.client_happening(happening, Some(self)),
        }
        Ok(self.killed_by.filter(|_| self.control.is_none()).map(Outcome::stopped))
    }

    fn event(&mut self, event: Event, supervisor: &mut Supervisor) -> Result<Option<Outcome>> {
        let process = matches!(event, Event::Stamp { byte, .. } if byte == Stamp::ProcessStarted as u8);
        match for_clients(&event) {
            // Whoever hears of it may ask for what takes the control stream.
            Some(message) if process && self.control.is_none() => self.process_started = Some(message),
            Some(message) => supervisor.tell_progress(message),
            None => {}
        }
        match event {
            // Once in a life, as a stamp comes.
            Event::Stamp { byte, .. } if byte == Stamp::Listening as u8 => {
                self.untold = Some(Vec::new());
                self.connect_control(supervisor)?;
            }
            Event::Stamp { byte, .. } if byte == Stamp::ProcessStarted as u8 => {
                supervisor.has_run = true;
                supervisor.record("start", None);
            }
            // All of its files have been opened.
            Event::Started { .. } => self.kernel.require_in_place()?,
            Event::Stamp { .. } => {}
            Event::Serial(bytes) => {
                self.log.write(&bytes);
                if supervisor.config.console {
                    supervisor.tell_progress(ToClient::Console(bytes));
                }
            }
            Event::Trouble(trouble) => self.troubles.push(trouble),
            Event::Ended { end, jail_gaps } => {
                for gap in jail_gaps {
                    let notice = format!("the monitor ran less confined than it should: {gap}");
                    supervisor.tell_all(&ToClient::Notice(notice));
                }
                if let Some(message) = self.last_word.take() {
                    return Ok(Some(Outcome::of(message, "the machine")));
                }
                return Ok(Some(self.ended_early(end, supervisor)));
            }
            Event::Failed { message } => return Ok(Some(Outcome::failed(message))),
        }
        Ok(None)
    }

    /// The guest's last word has been said and all output carried: the machine may go.
    fn farewell(&mut self, supervisor: &mut Supervisor) -> Outcome {
        let outcome = self.last_word.take().map(|message| Outcome::of(message, "the machine"));
        if !supervisor.is_removed() {
            self.save_kernel_log(supervisor);
            self.await_power_off(supervisor);
        }
        outcome.unwrap_or_else(|| Outcome::failed("the machine ended without a word"))
    }

    /// Has the machine end, and writes what its kernel has logged until then to the record.
    fn save_kernel_log(&mut self, supervisor: &Supervisor) {
        let log =
            connect_within(LOG_PATIENCE, &supervisor.vsock_socket(), &[Hello::Stream(Stream::KernelLog)]);
        self.send(&HostMessage::Close);
        let Some(stream) = log.ok().and_then(|mut connections| connections.pop()) else { return };
        let timed = Timed { stream, until: Instant::now() + LOG_PATIENCE };
        for line in BufReader::new(timed.take(MAX_LOG)).split(b'\n').map_while(Result::ok) {
            self.log.write_record(&String::from_utf8_lossy(&line));
        }
    }

    /// What the process wrote to its disk and nobody synced is on its way there.
    fn await_power_off(&mut self, supervisor: &mut Supervisor) {
        let until = Instant::now() + FAREWELL;
        loop {
            match supervisor.happenings.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(
                    Happening::Monitor { event: Event::Ended { .. } | Event::Failed { .. }, .. }
                    | Happening::MonitorGone,
                ) => return,
                Ok(Happening::Monitor { event: Event::Trouble(trouble), .. }) => self.troubles.push(trouble),
                Ok(Happening::Request(request, asker)) if request.awaits_end() => {
                    supervisor.will_answer_end(&request, asker)
                }
                Ok(Happening::Request(_, asker)) => asker.answer(&Err("the machine is about to end".into())),
                Ok(Happening::Monitor { .. }) => {}
                Ok(happening) => supervisor.client_happening(happening, None),
                Err(_) => {
                    let notice =
                        "the machine did not power off and was ended; its disk is repaired at the next start";
                    return supervisor.tell_all(&ToClient::Notice(notice.into()));
                }
            }
        }
    }

    /// The guest ended before its command did.
    fn ended_early(&mut self, end: End, supervisor: &mut Supervisor) -> Outcome {
        if end == End::Panic {
            for line in self.log.last_lines(PANIC_LINES) {
                supervisor.tell_all(&ToClient::Notice(format!("kernel: {line}")));
            }
        }
        let image_init = supervisor.config.init == guest_protocol::Init::Image;
        let crash = |notice: &str| Outcome::broken(Ending::Crash, notice);
        match end {
            // Who is the whole system's init ends the system.
            End::PowerOff if image_init => Outcome::of_process(0),
            End::PowerOff => crash("the guest powered itself off before its command ended"),
            End::Reboot => crash("the guest rebooted before its command ended"),
            End::Panic => Outcome::broken(Ending::Panic, "the guest's kernel panicked"),
            End::TripleFault => crash("the guest's processor gave up (triple fault)"),
            End::Fault(what) => crash(&format!("the guest did what no processor can go on after: {what}")),
            End::Stopped => Outcome::broken(Ending::Stopped, "the machine was stopped"),
        }
    }

    /// Whether there is, or may be, a process that can be told something.
    fn may_be_told(&self) -> bool {
        self.control.is_some() || self.untold.is_some()
    }

    fn send(&mut self, message: &HostMessage) {
        if let Some(untold) = self.untold.as_mut().filter(|untold| untold.len() < MAX_UNTOLD) {
            untold.push(message.clone());
        }
        // A machine that is gone needs no telling; that it is gone is noticed by reading. After half a frame nothing
        // more would be understood.
        if let Some(control) = &self.control
            && !self.deaf
        {
            self.deaf = frame::write(control, message).is_err();
        }
    }
}

fn in_words(trouble: &Trouble) -> String {
    match trouble {
        Trouble::PmemWrite => "the guest wrote to its read-only rootfs; nothing was changed".to_owned(),
        Trouble::DiskWrite { disk, cause } => format!("writing to the machine's disk {disk} failed: {cause}"),
        Trouble::DiskRead { disk, cause } => format!("reading the machine's disk {disk} failed: {cause}"),
    }
}

/// The monitor has ended: what it has said last is on its way, and so is the process's last output.
fn collect_rest(
    supervisor: &mut Supervisor,
    troubles: &mut Vec<Trouble>,
    log: &mut KernelLog,
    mut monitor_gone: bool,
) {
    let until = Instant::now() + LAST_WORDS;
    while !monitor_gone || !supervisor.outputs.is_over() {
        let left = until.saturating_duration_since(Instant::now());
        match supervisor.happenings.recv_timeout(left) {
            Ok(Happening::Monitor { event: Event::Trouble(trouble), .. }) => troubles.push(trouble),
            Ok(Happening::Monitor { event: Event::Serial(bytes), .. }) => log.write(&bytes),
            Ok(Happening::MonitorGone) => monitor_gone = true,
            Ok(Happening::OutputOver { generation }) => supervisor.outputs.one_is_over(generation),
            Ok(Happening::Monitor { .. } | Happening::Guest(_)) => {}
            Ok(Happening::Request(request, asker)) if request.awaits_end() => {
                supervisor.will_answer_end(&request, asker);
            }
            Ok(Happening::Request(_, asker)) => asker.answer(&Err("the machine has just ended".into())),
            Ok(happening) => supervisor.client_happening(happening, None),
            Err(_) => return,
        }
        if left.is_zero() {
            return;
        }
    }
}

fn read_events(events: impl Read, happen: &Sender<Happening>) {
    if tell_events(events, |event, place| happen.send(Happening::Monitor { event, _place: place }).is_ok()) {
        let _ = happen.send(Happening::MonitorGone);
    }
}
