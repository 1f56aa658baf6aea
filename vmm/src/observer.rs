//! What the outside learns of a machine: while it runs, and when it has ended.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

/// Is told what a running machine shows. Called on vCPU threads, which may do nothing but write to descriptors that
/// were open before the machine started, use memory they have, and wait for one another (see [`crate::jail`]).
pub trait Observer: Send + Sync {
    /// The guest wrote `byte` to the stamp port.
    fn stamp(&self, byte: u8);

    /// The guest wrote `bytes` to its serial port; a line or a piece of one.
    fn serial(&self, bytes: &[u8]);

    /// Something went wrong with which the machine goes on. Each kind is told once for each device.
    fn trouble(&self, trouble: Trouble);
}

/// What the user should hear of although the machine goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// The guest wrote into its read-only persistent memory, and nothing was changed.
    PmemWrite,
    /// A read of a disk failed, and the guest was told so.
    DiskRead {
        /// The disk's name, [`crate::BlockSpec::id`].
        disk: String,
        cause: String,
    },
    /// A disk could not take what the guest wrote, and the guest was told so. It can write again once the cause is
    /// gone, such as a full file system.
    DiskWrite { disk: String, cause: String },
}

/// The way from the devices, which are built first, to the observer, who comes when the machine runs.
#[derive(Default)]
pub struct Troubles(OnceLock<Arc<dyn Observer>>);

impl Troubles {
    pub fn listen(&self, observer: Arc<dyn Observer>) {
        let _ = self.0.set(observer);
    }

    pub fn tell(&self, trouble: Trouble) {
        if let Some(observer) = self.0.get() {
            observer.trouble(trouble);
        }
    }
}

/// How a machine ended and what it left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub end: End,
    /// Writes of the guest into its read-only persistent memory, which went nowhere.
    pub dropped_pmem_writes: u64,
    /// The last output of the serial port, at most 64 KiB.
    pub last_serial: Vec<u8>,
    /// What of the jail this host could not provide, in words; empty when it is whole.
    pub jail_gaps: Vec<String>,
}

/// Why a machine runs no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The guest turned the machine off.
    PowerOff,
    /// The guest restarted the machine.
    Reboot,
    /// The guest's kernel panicked, said so on the serial port, and restarted the machine.
    Panic,
    /// The guest's processor met a fault it could not even report: in an early kernel, a crash before it can print.
    TripleFault,
    /// The guest did something that no processor could go on after; the text says what.
    Fault(String),
    /// The one who ran the machine stopped it.
    Stopped,
}
