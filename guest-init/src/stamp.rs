//! Telling the monitor how far the start has come, one byte to an I/O port.

use guest_protocol::{STAMP_PORT, Stamp};

/// The right to write [`STAMP_PORT`], when the kernel gives it. Where it does not (lockdown, no
/// `ioperm`), stamps are left out: they are for measuring, nothing waits for them.
pub struct Stamps {
    allowed: bool,
}

impl Stamps {
    pub fn open() -> Stamps {
        // SAFETY: ioperm changes this thread's I/O permission bitmap only; no memory is involved.
        let allowed = unsafe { libc::ioperm(STAMP_PORT.into(), 1, 1) } == 0;
        Stamps { allowed }
    }

    pub fn write(&self, stamp: Stamp) {
        if !self.allowed {
            return;
        }
        // SAFETY: ioperm has allowed this port to this thread, so the instruction does not fault;
        // no device of a machine but the monitor's stamp register answers at it.
        unsafe {
            std::arch::asm!("out dx, al", in("dx") STAMP_PORT, in("al") stamp as u8,
                options(nomem, nostack, preserves_flags));
        }
    }

    /// Gives the port up. A child inherits its parent's ports, so it does this before its exec.
    pub fn close(&mut self) {
        if self.allowed {
            // SAFETY: as in `open`.
            unsafe { libc::ioperm(STAMP_PORT.into(), 1, 0) };
            self.allowed = false;
        }
    }
}
