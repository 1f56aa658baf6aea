//! What a machine is asked to be, as `machine.json` keeps it from `create` to `rm`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use anyhow::{Result, bail};
use guest_protocol::{Init, Process, WindowSize};
use serde::{Deserialize, Serialize};

use super::MachineId;
use super::fit::{ChannelChoice, FormatChoice, Transport};
use super::resources::Resources;
use super::restart::RestartPolicy;
use super::text::Text;
use crate::arguments::RootfsChoice;

/// Everything that does not change between the starts of a machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MachineConfig {
    pub id: MachineId,
    /// RFC 3339.
    pub created: String,
    /// The image as it was asked for, and what it was then.
    pub image: String,
    pub image_id: String,
    pub kernel: String,
    pub hostname: String,
    /// In bytes.
    pub memory: u64,
    pub cpus: u8,
    pub args: Vec<Text>,
    pub env: Vec<Text>,
    pub workdir: String,
    pub user: String,
    /// The process has a terminal.
    pub tty: bool,
    /// Its standard input is kept open, for those who attach.
    pub open_stdin: bool,
    pub init: Init,
    pub upper: UpperConfig,
    /// Whether what the guest syncs on its disk outlasts a crash of the host.
    pub flush: bool,
    pub read_only: bool,
    #[serde(default)]
    pub resources: Resources,
    pub rootfs_device: Option<RootfsChoice>,
    pub no_share: bool,
    #[serde(default)]
    pub rootfs_format: Option<FormatChoice>,
    #[serde(default)]
    pub transport: Option<Transport>,
    #[serde(default)]
    pub channel: Option<ChannelChoice>,
    /// Whether the kernel's modules are left out of the guest.
    #[serde(default)]
    pub no_modules: bool,
    pub kernel_args: Vec<String>,
    pub stock_boot: bool,
    /// The kernel's messages are shown, not only kept.
    pub console: bool,
    /// The machine goes when it has ended.
    pub remove: bool,
    pub restart: RestartPolicy,
    /// What asks the process to end, and how long it may take until it is killed, in seconds.
    pub stop_signal: u8,
    pub stop_timeout: u64,
    pub labels: BTreeMap<String, String>,
    /// Whether the output is kept for `vmrun logs`.
    pub keep_output: bool,
}

/// What the writable layer is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpperConfig {
    Memory,
    /// A disk of its own, of so many bytes.
    Disk {
        size: u64,
    },
}

impl MachineConfig {
    /// The process as the guest is told of it.
    pub fn process(&self, terminal: Option<WindowSize>) -> Process {
        let bytes = |texts: &[Text]| texts.iter().map(|text| text.0.clone()).collect();
        self.resources.bind_process(Process {
            args: bytes(&self.args),
            env: bytes(&self.env),
            cwd: self.workdir.clone().into_bytes(),
            user: self.user.clone(),
            terminal,
            stdin: self.open_stdin,
            ..Process::default()
        })
    }

    /// The command as people read it.
    pub fn command(&self) -> String {
        let words = self.args.iter().map(|word| OsString::from_vec(word.0.clone()));
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }
}

/// Who is init when nobody says: a command that is an init itself is the whole system's.
pub fn init_of(args: &[Text]) -> Init {
    const INITS: [&str; 7] = [
        "/sbin/init",
        "/usr/sbin/init",
        "/bin/systemd",
        "/lib/systemd/systemd",
        "/usr/lib/systemd/systemd",
        "systemd",
        "init",
    ];
    match args.first() {
        Some(Text(program)) if INITS.iter().any(|init| init.as_bytes() == program) => Init::Image,
        _ => Init::None,
    }
}

/// `HUP`, `SIGHUP` or `1` as a number; real-time signals as `RTMIN+3`.
pub fn signal_number(name: &str) -> Result<u8> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    const FIRST_REAL_TIME: u8 = 34;
    const LAST_REAL_TIME: u8 = 64;
    let upper = name.trim().to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = match short.parse::<u8>() {
        Ok(number) => Some(number),
        Err(_) if short.starts_with("RTMIN") => match &short["RTMIN".len()..] {
            "" => Some(FIRST_REAL_TIME),
            more => more
                .strip_prefix('+')
                .and_then(|n| n.parse().ok())
                .and_then(|n| FIRST_REAL_TIME.checked_add(n)),
        },
        Err(_) if short.starts_with("RTMAX") => match &short["RTMAX".len()..] {
            "" => Some(LAST_REAL_TIME),
            less => less
                .strip_prefix('-')
                .and_then(|n| n.parse().ok())
                .and_then(|n| LAST_REAL_TIME.checked_sub(n)),
        },
        Err(_) => NAMES.iter().position(|known| *known == short).map(|at| at as u8 + 1),
    };
    match number.filter(|number| (1..=LAST_REAL_TIME).contains(number)) {
        Some(number) => Ok(number),
        None => bail!("'{name}' is no signal: give a name such as SIGTERM, or a number from 1 to 64"),
    }
}

#[cfg(test)]
mod tests {
    use super::signal_number;

    #[test]
    fn signals_have_names_and_numbers() {
        let number = |name| signal_number(name).ok();
        assert_eq!([number("TERM"), number("sigterm"), number("15")], [Some(15); 3]);
        assert_eq!([number("SIGRTMIN+3"), number("RTMAX-27")], [Some(37); 2]);
        assert_eq!([number("0"), number("65"), number("SIGNOT"), number("RTMIN+99"), number("")], [None; 5]);
    }
}
