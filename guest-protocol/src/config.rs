//! The configuration of one run, read by guest-init before anything else.

use serde::{Deserialize, Serialize};

/// Where the configuration lies in the initramfs (postcard-encoded).
pub const CONFIG_PATH: &str = "/config";

/// Where the initramfs keeps kernel modules, uncompressed. They are loaded in the order of their
/// file names.
pub const MODULES_DIR: &str = "/modules";

/// Everything guest-init is told at start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    pub role: Role,
    /// Random bytes from the host, credited to the guest's entropy pool.
    pub seed: [u8; 32],
    pub process: Process,
}

/// What kind of machine guest-init brings up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Machine(Machine),
    EmulatedHost(EmulatedHost),
}

/// A machine that runs an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub hostname: String,
    pub rootfs: RootfsDevice,
    /// Mount the merged root read-only (`--read-only`).
    pub read_only: bool,
    /// Limit of the tmpfs upper in bytes; 0 leaves the kernel's default (half of memory).
    pub upper_limit: u64,
}

/// The device that carries the image's EROFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootfsDevice {
    /// `/dev/pmem0`, mounted with `dax=always`.
    Pmem,
    /// `/dev/vda`.
    Block,
}

/// An emulated machine that shows this host's files, copy-on-write, to a command (`vmrun emulate`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmulatedHost {
    /// 9p tag of the host's root, mounted read-only below a tmpfs overlay.
    pub root_tag: String,
    /// Writable shares, mounted over the overlay at the same path as on the host.
    pub shares: Vec<Share>,
}

/// A host directory that the emulated machine may write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// 9p mount tag.
    pub tag: String,
    /// Absolute path, the same on both sides.
    pub path: String,
}

/// The process to run, as the image's configuration and the command line gave it. Strings are
/// bytes: neither arguments nor environment need be UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub args: Vec<Vec<u8>>,
    /// `NAME=value` entries.
    pub env: Vec<Vec<u8>>,
    /// Working directory; made when missing, as Docker does.
    pub cwd: Vec<u8>,
    /// `user`, `uid`, `user:group` or `uid:gid`, looked up in the image's /etc/passwd and
    /// /etc/group; empty is root.
    pub user: String,
    /// The size of the terminal the process is given, when it is given one.
    pub terminal: Option<WindowSize>,
    /// Whether standard input is forwarded; else it is /dev/null.
    pub stdin: bool,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    pub rows: u16,
    pub columns: u16,
}
