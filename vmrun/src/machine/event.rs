//! What the monitor process tells the process that started it.

use serde::{Deserialize, Serialize};
use vmm::{End, Trouble};

/// One happening in a machine, sent as a frame over the monitor's standard output. Times are
/// nanoseconds of CLOCK_MONOTONIC, the same clock for both processes.
#[derive(Debug, Serialize, Deserialize)]
pub enum Event {
    /// The machine is built and its first instruction is next.
    Started { at: u64 },
    /// The guest wrote `byte` to the stamp port, or said it in its kernel's log.
    Stamp { byte: u8, at: u64 },
    /// The guest wrote to its serial port.
    Serial(Vec<u8>),
    /// Something went wrong with which the machine goes on.
    Trouble(Trouble),
    /// The guest has ended.
    /// What of the jail this host could not provide is in `jail_gaps`, one gap an item.
    Ended { end: End, jail_gaps: Vec<String> },
    /// The monitor could not go on.
    Failed { message: String },
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
