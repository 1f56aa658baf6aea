//! The QEMU process that emulates the machine.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use anyhow::{Context, Result, anyhow};
use guest_protocol::port;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::{HOME_TAG, ROOT_TAG};

pub const PROGRAM: &str = "qemu-system-x86_64";

/// The name of the port for connections.
pub const CONNECTIONS: &str = "connections";

/// The Debian package that has it.
pub const PACKAGE: &str = "qemu-system-x86";

/// What is left out of the kernel's boot: its crypto self-tests, and clock checks that an
/// emulated processor passes only by luck. It says only what is wrong, on the serial port.
const COMMAND_LINE: &str =
    "console=ttyS0 quiet loglevel=4 panic=-1 cryptomgr.notests no_timer_check tsc=reliable";

/// The machine to emulate.
pub struct Machine<'a> {
    /// In bytes.
    pub memory: u64,
    pub cpus: u8,
    pub icount: bool,
    /// A vmlinux with a PVH entry point; QEMU boots it without unpacking.
    pub kernel: &'a Path,
    pub initramfs: OwnedFd,
    /// The host directory that the machine may write.
    pub shared: &'a Path,
    /// Whether the command has a terminal instead of three streams.
    pub terminal: bool,
    /// Whether there is a port for connections (see [`super::mux`]).
    pub connections: bool,
}

/// This side's ends of the machine's ports.
pub struct Sockets {
    pub control: UnixStream,
    /// The kernel's console.
    pub serial: UnixStream,
    pub streams: Streams,
    pub connections: Option<UnixStream>,
}

/// The command's own streams.
pub enum Streams {
    Terminal(UnixStream),
    Three { stdin: UnixStream, stdout: UnixStream, stderr: UnixStream },
}

/// The program, where this process would find it.
pub fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|entry| entry.join(PROGRAM)).find(|file| file.is_file())
}

/// A running QEMU; killed when dropped.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
}

impl Qemu {
    /// Starts the machine.
    pub fn start(machine: &Machine<'_>) -> Result<(Qemu, Sockets)> {
        let mut command = Command::new(PROGRAM);
        let mut ports = Ports::default();
        command.args(processor(machine)).arg("-m").arg((machine.memory.div_ceil(1 << 20)).to_string());
        command.arg("-kernel").arg(machine.kernel).args(["-append", COMMAND_LINE]);
        command.arg("-initrd").arg(format!("/proc/self/fd/{}", ports.keep(machine.initramfs.as_raw_fd())));
        command.args(share(ROOT_TAG, Path::new("/"), ",readonly=on"));
        command.args(share(HOME_TAG, machine.shared, ""));

        let serial = ports.chardev(&mut command, "serial")?;
        command.args(["-serial", "chardev:serial"]);
        command.args(["-device", "virtio-serial-pci"]);
        let control = ports.port(&mut command, port::CONTROL)?;
        let streams = if machine.terminal {
            Streams::Terminal(ports.port(&mut command, port::TERMINAL)?)
        } else {
            Streams::Three {
                stdin: ports.port(&mut command, port::STDIN)?,
                stdout: ports.port(&mut command, port::STDOUT)?,
                stderr: ports.port(&mut command, port::STDERR)?,
            }
        };
        let connections = match machine.connections {
            true => Some(ports.port(&mut command, CONNECTIONS)?),
            false => None,
        };
        let child = ports.spawn(command)?;
        Ok((Qemu { child }, Sockets { control, serial, streams, connections }))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What QEMU itself complains of.
    pub fn complaints(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// How QEMU has ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<std::process::ExitStatus>> {
        self.child.try_wait()
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The options for the board and its processors: those of `docs/emulation.md`.
fn processor(machine: &Machine<'_>) -> Vec<String> {
    // One thread for all processors: with one each, QEMU's emulation of AMD-V now and then corrupts
    // a machine, or the one that runs in it, in the middle of its start (seen with QEMU 7.2).
    let mut options = vec!["-M", "q35", "-accel", "tcg,thread=single", "-cpu", "EPYC,+svm,+npt", "-smp"];
    let cpus = if machine.icount { 1 } else { machine.cpus }.to_string();
    options.push(&cpus);
    if machine.icount {
        options.extend(["-icount", "shift=1,sleep=off"]);
    }
    options.extend(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    options.into_iter().map(str::to_owned).collect()
}

/// A directory of this host, shown to the machine over 9p.
fn share(tag: &str, path: &Path, more: &str) -> Vec<OsString> {
    let mut fsdev = OsString::from(format!("local,id={tag},security_model=none,multidevs=remap{more},path="));
    // In a value, QEMU takes two commas for one.
    let escaped = path.as_os_str().as_bytes().iter().flat_map(|byte| match byte {
        b',' => vec![b',', b','],
        other => vec![*other],
    });
    fsdev.push(OsString::from_vec(escaped.collect()));
    let device = format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}");
    ["-fsdev".into(), fsdev, "-device".into(), device.into()].into()
}

/// The file descriptors that QEMU inherits.
#[derive(Default)]
struct Ports {
    inherited: Vec<RawFd>,
    /// QEMU's ends, open here until it has them.
    theirs: Vec<UnixStream>,
}

impl Ports {
    fn keep(&mut self, fd: RawFd) -> RawFd {
        self.inherited.push(fd);
        fd
    }

    /// A character device of QEMU's that is a socket to us.
    fn chardev(&mut self, command: &mut Command, name: &str) -> Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair().context("cannot make a socket for the emulated machine")?;
        command.arg("-chardev").arg(format!("socket,id={name},fd={}", self.keep(theirs.as_raw_fd())));
        self.theirs.push(theirs);
        Ok(ours)
    }

    /// A virtio-serial port of that name.
    fn port(&mut self, command: &mut Command, name: &str) -> Result<UnixStream> {
        let ours = self.chardev(command, name)?;
        command.arg("-device").arg(format!("virtserialport,chardev={name},name={name}"));
        Ok(ours)
    }

    fn spawn(self, mut command: Command) -> Result<Child> {
        let inherited = self.inherited;
        let start = move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            for fd in &inherited {
                // SAFETY: each was open when the process forked, and nothing in the child closes it.
                fcntl_setfd(unsafe { std::os::fd::BorrowedFd::borrow_raw(*fd) }, FdFlags::empty())?;
            }
            Ok(())
        };
        // The terminal's keys reach the command through us, not QEMU.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        // SAFETY: between fork and exec `start` makes system calls (prctl, fcntl) and nothing else:
        // it takes no lock and allocates nothing.
        unsafe { command.pre_exec(start) };
        command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                anyhow!("{PROGRAM} is missing: install the package {PACKAGE}")
            }
            _ => anyhow!("cannot start {PROGRAM}: {error}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn commas_in_a_path_stay_in_the_path() {
        let words = share("home", Path::new("/a,b"), "");
        assert_eq!(words[1], OsStr::new("local,id=home,security_model=none,multidevs=remap,path=/a,,b"));
    }
}
