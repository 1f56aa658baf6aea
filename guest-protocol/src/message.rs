//! The messages of the control stream, and the greeting every stream begins with.

use serde::{Deserialize, Serialize};

use crate::config::{Process, WindowSize};

/// The first frame the host sends on a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hello {
    /// This connection carries [`HostMessage`]s and [`GuestMessage`]s.
    Control,
    /// After this frame the connection carries one stream's raw bytes, until its end is shut down.
    Stream(Stream),
    /// Starts one more process. An [`ExecRequest`] frame follows (at most
    /// [`crate::frame::MAX_REQUEST`]); then the connection carries [`HostMessage`]s and
    /// [`GuestMessage`]s about that process. `token` is any number that no other exec of the machine
    /// has; the host connects the process's streams with it, and the process starts when all are there.
    /// When the host loses interest (the connection ends), the process goes on and its output is lost.
    Exec { token: u64 },
    /// As [`Hello::Stream`], of the process that [`Hello::Exec`] with this `token` starts.
    ExecStream { token: u64, stream: Stream },
    /// Asks for files: see [`crate::files`].
    Files,
    /// Freezes all processes of the machine but guest-init. Answered by a `Result<(), String>` frame
    /// when they stand still.
    Freeze,
    /// Lets them go on; answered likewise.
    Thaw,
    /// Answered by one `Result<Statistics, String>` frame (see [`crate::statistics`]).
    Statistics,
    /// Answered by one `Result<ProcessList, String>` frame.
    Processes,
}

/// What an exec starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    pub process: Process,
    /// Nobody connects its streams: there is nothing on its input, and its output is lost.
    pub detached: bool,
}

/// A raw byte stream between the host and the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// Host to guest. The host's shutdown closes the process's standard input.
    Stdin,
    /// Guest to host, shut down when nothing in the guest can write to it any more.
    Stdout,
    /// Guest to host.
    Stderr,
    /// Both ways: the master side of the process's terminal.
    Terminal,
    /// Guest to host: /dev/kmsg records as they are, one a line, from the first.
    KernelLog,
}

impl Stream {
    /// Whether the host sends on it.
    pub fn is_input(self) -> bool {
        matches!(self, Stream::Stdin | Stream::Terminal)
    }
}

/// What the host says on the control stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostMessage {
    /// Deliver a signal to the process. From an emulated host's host, SIGPIPE also says that nobody
    /// reads the standard output any more, which a port does not tell.
    Signal(u8),
    /// The host's terminal has a new size.
    Resize(WindowSize),
    /// All output has been received: flush what must last and power off. An exec's has no such power.
    Close,
    /// Nobody reads this output of an exec's process any more: its next write fails, as in a pipeline.
    Unread(Stream),
}

/// What guest-init says on the control stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestMessage {
    /// The process could not be started; the machine will end after [`HostMessage::Close`].
    StartFailed { failure: StartFailure, message: String },
    /// The process has ended and its output has been sent.
    Exited(ExitStatus),
    /// An exec's process runs.
    Started,
    /// The machine could not be brought up.
    Fault { message: String },
}

/// Why a process could not be started; each has an exit code of its own in Docker's scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartFailure {
    /// The command does not exist (127).
    NotFound,
    /// The command exists and cannot be executed (126).
    NotExecutable,
    /// Anything else: an unknown user, no such working directory (125).
    Other,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    Code(u8),
    Signal(u8),
    /// It asked the kernel to power off (reboot(2)), which in a PID namespace ends it alone.
    PoweredOff,
    /// It asked the kernel for a restart.
    Rebooted,
}

impl ExitStatus {
    /// The exit code of whoever ran the process: its own, 128 and the signal's number, 0 for a
    /// power-off, and 125 for a restart, which nobody carried out.
    pub fn exit_code(self) -> u8 {
        match self {
            ExitStatus::Code(code) => code,
            ExitStatus::Signal(signal) => 128u8.saturating_add(signal),
            ExitStatus::PoweredOff => 0,
            ExitStatus::Rebooted => 125,
        }
    }
}

impl StartFailure {
    /// The exit code of whoever wanted to run the process.
    pub fn exit_code(self) -> u8 {
        match self {
            StartFailure::NotFound => 127,
            StartFailure::NotExecutable => 126,
            StartFailure::Other => 125,
        }
    }
}
