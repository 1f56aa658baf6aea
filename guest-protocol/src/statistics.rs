//! What a guest uses of its machine, and its processes, as guest-init sees them.

use serde::{Deserialize, Serialize};

/// What the guest uses at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Time since boot, and of that the time all processors together were not idle, in microseconds.
    pub uptime: u64,
    pub busy: u64,
    /// In bytes: all memory, what programs use of it, what the kernel could give them still.
    pub memory_total: u64,
    pub memory_used: u64,
    pub memory_available: u64,
    /// Processes and threads of the machine's processes.
    pub pids: u64,
    /// In bytes: read from and written to the machine's disks.
    pub disk_read: u64,
    pub disk_written: u64,
}

/// The processes of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessList {
    pub rows: Vec<ProcessRow>,
    /// How many more there are that did not fit into a frame.
    pub left_out: u64,
    /// When this was, in milliseconds since boot.
    pub uptime: u64,
}

/// One process of the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRow {
    /// As the machine's own processes number them; 0 is a parent that they do not see.
    pub pid: u32,
    pub parent: u32,
    pub user: u32,
    /// A letter of proc(5), such as `S`.
    pub state: char,
    /// Processor time in milliseconds, and when it was started, in milliseconds since boot.
    pub cpu: u64,
    pub started: u64,
    /// Resident memory in bytes.
    pub resident: u64,
    /// The terminal's device number, 0 for none.
    pub terminal: u32,
    /// The command line with spaces between its arguments, cut at 1 KiB; in brackets, its name.
    pub command: String,
}
