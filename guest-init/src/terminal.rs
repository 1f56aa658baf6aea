//! The process's terminal.

use guest_protocol::WindowSize;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::ioctl_tiocsctty;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// The side that the process has.
pub struct Terminal {
    pub slave: OwnedFd,
    /// Its name below /dev/pts.
    pub path: std::ffi::CString,
}

/// Opens a pseudo-terminal of `size`: its master side (non-blocking) and the process's.
pub fn open(size: WindowSize) -> Result<(OwnedFd, Terminal), Errno> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    let path = ptsname(&master, Vec::new())?;
    resize(&master, size)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok((master, Terminal { slave, path }))
}

/// Gives the terminal a new size; its foreground processes get SIGWINCH.
pub fn resize(master: impl AsFd, size: WindowSize) -> Result<(), Errno> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size)
}

impl Terminal {
    /// Makes it the controlling terminal of the calling process, which leads a session.
    pub fn take_control(&self) -> Result<(), Errno> {
        ioctl_tiocsctty(&self.slave)
    }
}
