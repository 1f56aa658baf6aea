//! The process's standard streams: three pipes, or a terminal.

use guest_protocol::{Process, WindowSize};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, fchmod, fchown, open};
use rustix::io::{Errno, dup2, fcntl_setfd};
use rustix::mount::mount_bind;
use rustix::process::{Gid, Uid};

use crate::terminal::{self, Terminal};
use crate::user::Identity;

/// The group `tty`: this number where /dev/pts is mounted with `gid=5`, as it is here.
const TTY_GROUP: u32 = 5;

/// The process's side and guest-init's side of its standard streams.
pub struct Stdio {
    theirs: Theirs,
    ours: Ends,
}

enum Theirs {
    Separate { stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd },
    Terminal(Terminal),
}

/// guest-init's ends of the process's streams.
pub enum Ends {
    Separate {
        stdin: Option<OwnedFd>,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
    /// A terminal whose output is a standard output, for an init that writes to its console.
    Console {
        master: OwnedFd,
        slave: OwnedFd,
    },
    /// The master side, and the other one, held so that the terminal outlives a process that closes it
    /// for a moment.
    Terminal {
        master: OwnedFd,
        slave: OwnedFd,
    },
}

impl Stdio {
    /// Makes them as the configuration asks: a terminal, or three separate streams.
    pub fn open(process: &Process, identity: &Identity) -> Result<Stdio, Errno> {
        match process.terminal {
            Some(size) => open_terminal(size, identity),
            None => open_pipes(process.stdin, identity),
        }
    }

    /// Makes them for an init: a terminal in any case, which is its console.
    pub fn console(process: &Process, identity: &Identity) -> Result<Stdio, Errno> {
        let size = process.terminal.unwrap_or(WindowSize { rows: 24, columns: 80 });
        let mut stdio = open_terminal(size, identity)?;
        if process.terminal.is_none()
            && let Ends::Terminal { master, slave } = stdio.ours
        {
            stdio.ours = Ends::Console { master, slave };
        }
        Ok(stdio)
    }

    /// As [`Stdio::install`], for an init, which leads no session with this terminal.
    pub fn install_without_control(&self) -> Result<(), Errno> {
        match &self.theirs {
            Theirs::Separate { .. } => self.install(),
            Theirs::Terminal(terminal) => install([terminal.slave.as_fd(); 3]),
        }
    }

    /// In the child: puts the process's side on descriptors 0, 1 and 2.
    pub fn install(&self) -> Result<(), Errno> {
        match &self.theirs {
            Theirs::Separate { stdin, stdout, stderr } => {
                install([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])
            }
            Theirs::Terminal(terminal) => {
                install([terminal.slave.as_fd(); 3])?;
                terminal.take_control()
            }
        }
    }

    /// In the machine's first process: Docker's /dev/console is its terminal too, where it has one.
    pub fn offer_console(&self) {
        if let Theirs::Terminal(terminal) = &self.theirs {
            let _ = mount_bind(&*terminal.path, "/dev/console");
        }
    }

    /// In guest-init, once the child has its side: closes that one.
    pub fn into_ours(self) -> Ends {
        self.ours
    }
}

fn open_terminal(size: WindowSize, identity: &Identity) -> Result<Stdio, Errno> {
    let (master, terminal) = terminal::open(size)?;
    fchown(&terminal.slave, Some(Uid::from_raw(identity.uid)), Some(Gid::from_raw(TTY_GROUP)))?;
    fchmod(&terminal.slave, Mode::from_raw_mode(0o620))?;
    let slave = terminal.slave.try_clone().map_err(|_| Errno::MFILE)?;
    Ok(Stdio { theirs: Theirs::Terminal(terminal), ours: Ends::Terminal { master, slave } })
}

fn open_pipes(with_stdin: bool, identity: &Identity) -> Result<Stdio, Errno> {
    let (stdin, our_stdin) = if with_stdin {
        let (reader, writer) = user_pipe(identity)?;
        set_nonblocking(&writer)?;
        (reader, Some(writer))
    } else {
        (open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?, None)
    };
    let (our_stdout, stdout) = user_pipe(identity)?;
    let (our_stderr, stderr) = user_pipe(identity)?;
    set_nonblocking(&our_stdout)?;
    set_nonblocking(&our_stderr)?;
    Ok(Stdio {
        theirs: Theirs::Separate { stdin, stdout, stderr },
        ours: Ends::Separate { stdin: our_stdin, stdout: our_stdout, stderr: our_stderr },
    })
}

/// A pipe that its user may open again through /dev/stdout and the like.
fn user_pipe(identity: &Identity) -> Result<(OwnedFd, OwnedFd), Errno> {
    let ends = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    fchown(&ends.0, Some(Uid::from_raw(identity.uid)), Some(Gid::from_raw(identity.gid)))?;
    Ok(ends)
}

/// Of one end alone: the other one's user expects an ordinary pipe.
fn set_nonblocking(end: &OwnedFd) -> Result<(), Errno> {
    rustix::io::ioctl_fionbio(end, true)
}

/// Puts `streams` on descriptors 0, 1 and 2. All of them are above 2: guest-init has its console there.
fn install(streams: [BorrowedFd<'_>; 3]) -> Result<(), Errno> {
    for (stream, target) in streams.into_iter().zip(0..) {
        // SAFETY: descriptors 0 to 2 are owned by nobody in this program; the child that lives from
        // here to its exec is done with the console they were.
        let mut target =
            std::mem::ManuallyDrop::new(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(target) });
        dup2(stream, &mut target)?;
        fcntl_setfd(&*target, rustix::io::FdFlags::empty())?;
    }
    Ok(())
}
