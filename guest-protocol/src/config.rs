//! The configuration of one run, read by guest-init before anything else.

use serde::{Deserialize, Serialize};

/// Where the configuration lies in the initramfs (postcard-encoded).
pub const CONFIG_PATH: &str = "/config";

/// Where the initramfs keeps kernel modules, uncompressed. They are loaded in the order of their
/// file names.
pub const MODULES_DIR: &str = "/modules";

/// Modules to be loaded, in the same way, when the process has been running for a while.
pub const LATER_MODULES_DIR: &str = "/later-modules";

/// Everything guest-init is told at start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    pub role: Role,
    /// Random bytes from the host, credited to the guest's entropy pool.
    pub seed: [u8; 32],
    /// `None` in a machine that only serves what the host asks of it (see [`crate::Hello`]).
    pub process: Option<Process>,
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
    pub rootfs_format: RootfsFormat,
    pub root: Root,
    pub channel: Channel,
    pub upper: Upper,
    /// Whether the last disk holds the kernel's modules, to be mounted on /lib/modules/VERSION.
    pub modules: bool,
    /// Mount the merged root read-only (`--read-only`).
    pub read_only: bool,
    pub init: Init,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
    pub tmpfs: Vec<Tmpfs>,
    /// Names with dots, as sysctl(8) takes them, and values.
    pub sysctls: Vec<(String, String)>,
    /// At most this many processes and threads beside the kernel's and guest-init's.
    pub pids_limit: Option<u64>,
}

/// What the writable layer is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Upper {
    /// A tmpfs; its limit in bytes, 0 for the kernel's default (half of memory).
    Memory { limit: u64 },
    /// The ext4 on the virtio-blk device whose serial number is [`UPPER_DISK`].
    Disk,
}

/// The serial number of the disk that carries the writable layer.
pub const UPPER_DISK: &str = "upper";

/// Who is the machine's init.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Init {
    /// guest-init, with the process in a PID namespace of its own.
    #[default]
    None,
    /// The process itself, as the whole system's PID 1.
    Image,
}

/// A tmpfs to be mounted over the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    pub path: String,
    /// Mount options as `--tmpfs PATH:OPTIONS` gives them, such as `size=64m,mode=1770,noexec`.
    pub options: String,
}

/// The device that carries the image's EROFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootfsDevice {
    /// `/dev/pmem0`, mounted with `dax=always`.
    Pmem,
    /// `/dev/vda`.
    Block,
}

/// The file system on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootfsFormat {
    Erofs,
    Ext4,
}

/// What the machine's root is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// An overlay: the image below, the writable layer above.
    Overlay,
    /// The writable layer alone, with a copy of the image on it.
    Copied,
    /// The image alone, read-only.
    Plain,
}

/// How the host reaches guest-init.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channel {
    /// Connections to its vsock port.
    Vsock,
    /// Connections to ports of a virtio-console (see [`crate::port`]).
    Console,
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
    /// What is written stays in the machine's page cache until it is synced, as on a disk of its own; the host must
    /// not write there meanwhile.
    pub write_back: bool,
}

/// The process to run, as the image's configuration and the command line gave it. Strings are
/// bytes: neither arguments nor environment need be UTF-8.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Groups beside those of the user, by name or number.
    pub groups: Vec<String>,
    pub limits: Vec<Limit>,
    /// Capabilities that are taken away, each as the bit of its number.
    pub dropped_capabilities: u64,
    pub oom_score_adj: Option<i16>,
}

/// A resource limit of setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// RLIMIT_…, as Linux numbers it on x86-64.
    pub resource: u8,
    /// `None` is no limit.
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    pub rows: u16,
    pub columns: u16,
}
