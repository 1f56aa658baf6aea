//! A life's connections to the guest. They are made on threads of their own: a guest that answers nothing holds up nobody.

use std::os::unix::net::UnixStream;
use std::thread;

use anyhow::{Context, Result};
use guest_protocol::{GuestMessage, Hello, HostMessage, Stream, frame};

use super::{DEAFNESS, Happening, Life, STACK};
use crate::machine::connect;
use crate::place::Socket;
use crate::supervisor::Supervisor;

/// Connections to the guest, made where nobody else waits for it.
pub enum Connected {
    Control(UnixStream),
    Streams(&'static [Stream], Vec<UnixStream>),
}

/// How far the process's streams are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Streams {
    Missing,
    Coming,
    There,
}

impl Life {
    /// The guest has accepted what we connected to, or has not.
    pub(super) fn connected(&mut self, what: Result<Connected>, supervisor: &mut Supervisor) -> Result<()> {
        match what {
            Ok(Connected::Control(control)) => {
                self.control = Some(control);
                let untold = self.untold.take().unwrap_or_default();
                let size = supervisor.config.tty.then_some(HostMessage::Resize(supervisor.window));
                for message in size.iter().chain(&untold) {
                    self.send(message);
                }
                if let Some(message) = self.process_started.take() {
                    supervisor.tell_progress(message);
                }
            }
            Ok(Connected::Streams(streams, connections)) if self.streams == Streams::Coming => {
                self.carry_streams(streams, connections, supervisor)?;
            }
            // Nobody wants them any more: there was no process.
            Ok(Connected::Streams(..)) => {}
            Err(_) if self.streams == Streams::There => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    pub(super) fn connect_control(&self, supervisor: &Supervisor) -> Result<()> {
        let (socket, life) = (supervisor.vsock_socket(), supervisor.state.restarts);
        let happen = supervisor.happen.clone();
        thread::Builder::new().stack_size(STACK).spawn(move || {
            let (what, reader) = match connect_to_control(&socket) {
                Ok((control, reader)) => (Ok(Connected::Control(control)), Some(reader)),
                Err(error) => (Err(error), None),
            };
            let told = happen.send(Happening::Connected { life, what });
            let Some(reader) = reader.filter(|_| told.is_ok()) else { return };
            while let Ok(message) = frame::read::<GuestMessage>(&reader) {
                if happen.send(Happening::Guest(message)).is_err() {
                    return;
                }
            }
        })?;
        Ok(())
    }

    pub(super) fn connect_streams(&mut self, supervisor: &mut Supervisor) -> Result<()> {
        self.streams = Streams::Coming;
        let streams: &[Stream] = match (supervisor.config.tty, supervisor.config.open_stdin) {
            (true, _) => &[Stream::Terminal],
            (false, true) => &[Stream::Stdout, Stream::Stderr, Stream::Stdin],
            (false, false) => &[Stream::Stdout, Stream::Stderr],
        };
        let hellos: Vec<Hello> = streams.iter().map(|stream| Hello::Stream(*stream)).collect();
        let (socket, life) = (supervisor.vsock_socket(), supervisor.state.restarts);
        let happen = supervisor.happen.clone();
        thread::Builder::new().stack_size(STACK).spawn(move || {
            let what = connect(&socket, &hellos).map(|made| Connected::Streams(streams, made));
            let _ = happen.send(Happening::Connected { life, what });
        })?;
        Ok(())
    }

    fn carry_streams(
        &mut self,
        streams: &[Stream],
        connections: Vec<UnixStream>,
        supervisor: &mut Supervisor,
    ) -> Result<()> {
        self.streams = Streams::There;
        for (stream, connection) in streams.iter().zip(connections) {
            match stream {
                Stream::Stdin => supervisor.input.open(connection),
                Stream::Terminal => {
                    supervisor.input.open(connection.try_clone()?);
                    supervisor.outputs.carry(*stream, connection, supervisor.happen.clone())?;
                }
                _ => supervisor.outputs.carry(*stream, connection, supervisor.happen.clone())?,
            }
        }
        Ok(())
    }
}

/// The control stream, twice: to write to, and to read from.
fn connect_to_control(socket: &Socket) -> Result<(UnixStream, UnixStream)> {
    let mut connections = connect(socket, &[Hello::Control])?;
    let control = connections.pop().context("the machine's control stream is missing")?;
    // A guest that does not listen holds nobody up.
    control.set_write_timeout(Some(DEAFNESS))?;
    let reader = control.try_clone()?;
    Ok((control, reader))
}
