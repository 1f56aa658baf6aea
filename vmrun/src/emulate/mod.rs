//! An emulated machine that has KVM, over a copy-on-write view of this host's files.
//!
//! QEMU emulates a processor with AMD-V; a stored kernel boots in it, guest-init mounts the
//! host's root over 9p below a tmpfs and switches to it, and the command runs there as if here.
//! What it writes is gone afterwards, except in vmrun's own state directory.

mod bootfs;
pub mod host;
mod mux;
pub mod qemu;
mod relay;
mod session;

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use guest_protocol::{Config, EmulatedHost, Process, Role, Share};

use crate::home::Home;
use crate::machine::{fill_random, window_size};
use qemu::Qemu;
use session::Session;

/// The 9p tags of the host's root and of vmrun's state directory.
const ROOT_TAG: &str = "root";
const HOME_TAG: &str = "home";

/// What is asked of an emulated machine.
#[derive(Debug, Clone)]
pub struct EmulateOptions {
    /// In bytes.
    pub memory: u64,
    pub cpus: u8,
    /// The machine's clock counts instructions, so that timings repeat.
    pub icount: bool,
    /// The stored kernel to boot; without one, the first that can.
    pub kernel: Option<String>,
    /// The state directory is written when it is synced, and the host does not write there meanwhile.
    pub write_back: bool,
    pub command: Vec<OsString>,
}

/// Runs the command on an emulated machine, with this process's streams, and returns its exit
/// code: its own, 128+n for a signal, 127 when it is not found, 126 when it cannot be executed.
pub fn run(home: &Home, options: &EmulateOptions) -> Result<u8> {
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let process = process(options, &shared_directory(home)?, terminal)?;
    let (qemu, sockets) = boot(home, options, process, false)?;
    Session::new(qemu, sockets)?.until_the_end()
}

/// Whether an emulated machine can be started at all; if not, says what is missing.
fn check(home: &Home) -> Result<()> {
    if qemu::find().is_none() {
        bail!("{} is missing: install the package {}", qemu::PROGRAM, qemu::PACKAGE);
    }
    bootfs::choose_kernel(&home.kernels()?, None).map(drop)
}

/// The state directory as the emulated machine sees it.
fn shared_directory(home: &Home) -> Result<PathBuf> {
    home.root().canonicalize().with_context(|| format!("cannot resolve {}", home.root().display()))
}

/// Starts QEMU with that process in its machine.
fn boot(
    home: &Home,
    options: &EmulateOptions,
    process: Process,
    connections: bool,
) -> Result<(Qemu, qemu::Sockets)> {
    let shared = shared_directory(home)?;
    let kernel = bootfs::choose_kernel(&home.kernels()?, options.kernel.as_deref())?;
    let terminal = process.terminal.is_some();
    let mut seed = [0; 32];
    fill_random(&mut seed)?;
    let shared_name = shared.to_str().with_context(|| format!("{} is not UTF-8", shared.display()))?;
    let share = Share { tag: HOME_TAG.into(), path: shared_name.into(), write_back: options.write_back };
    let config = Config {
        role: Role::EmulatedHost(EmulatedHost { root_tag: ROOT_TAG.into(), shares: vec![share] }),
        seed,
        process: Some(process),
    };
    let initramfs = bootfs::initramfs(&kernel, &config)?;
    Qemu::start(&qemu::Machine {
        memory: options.memory,
        cpus: options.cpus,
        icount: options.icount,
        kernel: &kernel.vmlinux,
        initramfs,
        shared: &shared,
        terminal,
        connections,
    })
}

/// The command as it would run here: same environment, same directory, as root of the machine.
fn process(options: &EmulateOptions, shared: &Path, terminal: bool) -> Result<Process> {
    if options.command.is_empty() {
        bail!("there is no command to run");
    }
    let inherited = env::vars_os().filter(|(name, _)| name != "VMRUN_HOME");
    let env = inherited.map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let cwd = env::current_dir().context("cannot find the current directory")?;
    Ok(Process {
        args: options.command.iter().map(|word| word.clone().into_vec()).collect(),
        env: env.chain([home_variable(shared)]).collect(),
        cwd: cwd.into_os_string().into_vec(),
        user: String::new(),
        terminal: terminal.then(window_size),
        stdin: true,
        ..Process::default()
    })
}

/// There its user is root, whose state directory would be another one.
fn home_variable(shared: &Path) -> Vec<u8> {
    [b"VMRUN_HOME=", shared.as_os_str().as_bytes()].concat()
}
