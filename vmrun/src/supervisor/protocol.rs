//! What is said on a supervisor's control socket: a first frame for each connection, and then, by its kind, frames
//! both ways or a stream's bytes.

use guest_protocol::{Stream, WindowSize};
use serde::{Deserialize, Serialize};

/// The first frame of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The connection stays: [`FromClient`] and [`ToClient`] frames go over it until the machine has ended or the
    /// client leaves. It has so many `streams`, each a connection of its own with this `token`, which may be made
    /// before or after; the client is attached when all are there.
    Attach {
        token: u64,
        streams: u8,
    },
    /// One of the process's streams for the client that attaches with this `token`. Output comes as it is; input is
    /// sent in pieces (see [`guest_protocol::port`]), of which an empty one closes the process's standard input,
    /// and the connection's end alone does not.
    Stream {
        token: u64,
        stream: Stream,
    },
    /// Answered by [`Reply`] when it has been sent; SIGKILL when the machine has ended.
    Signal(u8),
    /// Ends the process: `signal`, after so many seconds SIGKILL, and no restart. Answered when the machine has
    /// ended. With `keep` it stays, although it was run with `--rm`: it is about to be started again.
    Stop {
        signal: u8,
        seconds: u64,
        keep: bool,
    },
    /// Answered when all processes stand still.
    Pause,
    Unpause,
    /// Answered when the machine has ended next.
    Wait,
}

impl Request {
    /// Whether the answer is how the machine has ended.
    pub fn awaits_end(&self) -> bool {
        const KILL: u8 = 9;
        matches!(self, Request::Stop { .. } | Request::Signal(KILL) | Request::Wait)
    }
}

/// The answer to all requests but streams and attaching.
pub type Reply = Result<Ended, String>;

/// How a machine has ended; 0 as an answer to what is no end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub code: u8,
}

/// What an attached client says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromClient {
    /// The first one to attach has all its streams: the process's output may flow.
    Begin,
    Signal(u8),
    Resize(WindowSize),
    /// Nobody reads this output any more: the process gets an error where it writes on, as in a pipeline.
    Refuse(Stream),
}

/// What an attached client is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToClient {
    /// What was decided about the machine, and of that how its rootfs is attached, in words.
    Planned { machine: String, rootfs: String },
    /// The monitor is about to run the guest's first instruction, at this moment of CLOCK_MONOTONIC.
    Started { at: u64 },
    /// The guest wrote `byte` to the stamp port.
    Stamp { byte: u8, at: u64 },
    /// The kernel's messages, with `--console`.
    Console(Vec<u8>),
    /// A line for the user.
    Notice(String),
    /// The end, after all output.
    Ended(Ended),
}
