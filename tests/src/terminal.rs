//! A pseudo-terminal with a `vmrun` on it, as a person would sit before it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::command::Command;
use crate::kernel_log;
use crate::process::{Outcome, Running};

const PATIENCE: Duration = Duration::from_secs(120);

/// The person's side of a terminal.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    /// Kept open, so that the terminal and its settings outlive the command.
    slave: OwnedFd,
    seen: Arc<Mutex<Vec<u8>>>,
    command: Option<Running>,
}

impl Terminal {
    /// Starts `command` on a new terminal of that size.
    pub fn start(rows: u16, columns: u16, command: Command) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = open(&*name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let mut terminal =
            Terminal { master: File::from(master), slave, seen: Arc::default(), command: None };
        terminal.resize(rows, columns);
        terminal.watch();
        terminal.command = Some(command.start_on(&terminal.slave, take_control));
        terminal
    }

    /// Collects what appears on the screen.
    fn watch(&self) {
        let (mut from, seen) = (self.master.try_clone().unwrap(), self.seen.clone());
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut piece) {
                seen.lock().unwrap().extend_from_slice(&piece[..length]);
            }
        });
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })
            .unwrap();
    }

    /// Types.
    pub fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` appears that has not been waited for yet, and returns what came before it.
    #[track_caller]
    pub fn shows(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut seen = self.seen.lock().unwrap();
            let shown = String::from_utf8_lossy(&seen).into_owned();
            if let Some((before, after)) = shown.split_once(text) {
                *seen = after.as_bytes().to_vec();
                return before.to_owned();
            }
            drop(seen);
            if Instant::now() > deadline {
                panic!("no {text:?} on the terminal, only\n{shown}\n{}", kernel_log::of_running_machines());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The terminal's settings.
    pub fn settings(&self) -> Termios {
        tcgetattr(self.slave.as_fd()).unwrap()
    }

    /// Waits until the command has ended.
    pub fn wait(&mut self) -> Outcome {
        self.command.take().expect("the command has ended before").wait()
    }
}

/// In the child: makes the terminal on standard input the controlling one, as a login does.
fn take_control() -> io::Result<()> {
    setsid()?;
    Ok(ioctl_tiocsctty(rustix::stdio::stdin())?)
}
