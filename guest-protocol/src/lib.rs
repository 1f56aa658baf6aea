//! What the host and the guest say to each other.
//!
//! Three things cross the line between `vmrun` and guest-init, and all three are defined here and
//! nowhere else:
//!
//! * [`Config`], which the host appends to the initramfs and guest-init reads at start
//!   ([`CONFIG_PATH`]);
//! * [`Stamp`]s, single bytes that guest-init writes to the I/O port [`STAMP_PORT`] so that the
//!   monitor can tell how far a start has come without a word being exchanged;
//! * [`HostMessage`]s and [`GuestMessage`]s, framed (see [`frame`]) on the control stream, beside
//!   raw byte streams for the process's standard input, output and error and the kernel's log.
//!
//! The host always connects, to vsock port [`PORT`] of the guest. Being below 1024, that port can
//! only be bound by the guest's root, so no ordinary process in the guest can pose as guest-init.
//! The first frame on every connection is a [`Hello`] that says which stream it is.

pub mod config;
pub mod files;
pub mod frame;
pub mod message;
pub mod packet;
pub mod port;
pub mod statistics;

pub use config::{
    CONFIG_PATH, Channel, Config, EmulatedHost, Init, LATER_MODULES_DIR, Limit, MODULES_DIR, Machine,
    Process, Role, Root, RootfsDevice, RootfsFormat, Share, Tmpfs, UPPER_DISK, Upper, WindowSize,
};
pub use message::{ExecRequest, ExitStatus, GuestMessage, Hello, HostMessage, StartFailure, Stream};

/// The vsock port guest-init listens on.
pub const PORT: u32 = 1;

/// The x86 I/O port that [`Stamp`]s are written to, one byte each.
pub const STAMP_PORT: u16 = 0x5f0;

/// What guest-init says where its kernel lets nobody use ports (lockdown): a line of the kernel's log, on the
/// serial port, with the stamp's number behind this.
pub const STAMP_LINE: &str = "vmrun: stamp ";

/// How far a guest's start has come; written by guest-init as one byte to [`STAMP_PORT`], or else as a
/// [`STAMP_LINE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stamp {
    /// guest-init runs: the kernel's own boot is over.
    InitStarted = 1,
    /// The kernel modules are loaded.
    ModulesLoaded = 2,
    /// The root file system is mounted, overlaid and switched to.
    RootfsReady = 3,
    /// guest-init accepts connections on [`PORT`].
    Listening = 4,
    /// The process has been started.
    ProcessStarted = 5,
}

impl Stamp {
    /// The stamp that `byte` stands for; the guest may write any byte it likes.
    pub fn from_byte(byte: u8) -> Option<Stamp> {
        Some(match byte {
            1 => Stamp::InitStarted,
            2 => Stamp::ModulesLoaded,
            3 => Stamp::RootfsReady,
            4 => Stamp::Listening,
            5 => Stamp::ProcessStarted,
            _ => return None,
        })
    }
}
