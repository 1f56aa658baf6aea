//! Telling the monitor how far the start has come: one byte to an I/O port, or a line of the kernel's log.

use guest_protocol::{STAMP_PORT, Stamp};

use crate::log;

/// How stamps are told.
pub enum Stamps {
    /// This process has the right to write [`STAMP_PORT`].
    Port,
    /// The kernel gives nobody that right (lockdown, no `ioperm`): the serial port takes long, but any kernel
    /// has it, and the host waits for one of them.
    Log,
    Closed,
}

impl Stamps {
    pub fn open() -> Stamps {
        // SAFETY: ioperm changes this thread's I/O permission bitmap only; no memory is involved.
        match unsafe { libc::ioperm(STAMP_PORT.into(), 1, 1) } {
            0 => Stamps::Port,
            _ => Stamps::Log,
        }
    }

    pub fn write(&self, stamp: Stamp) {
        match self {
            // SAFETY: ioperm has allowed this port to this thread, so the instruction does not fault; no
            // device of a machine but the monitor's stamp register answers at it.
            Stamps::Port => unsafe {
                std::arch::asm!("out dx, al", in("dx") STAMP_PORT, in("al") stamp as u8,
                    options(nomem, nostack, preserves_flags));
            },
            Stamps::Log => log::stamp(stamp),
            Stamps::Closed => {}
        }
    }

    /// Gives the port up. A child inherits its parent's ports, so it does this before its exec.
    pub fn close(&mut self) {
        if let Stamps::Port = self {
            // SAFETY: as in `open`.
            unsafe { libc::ioperm(STAMP_PORT.into(), 1, 0) };
        }
        *self = Stamps::Closed;
    }
}
