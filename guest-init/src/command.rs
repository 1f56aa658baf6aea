//! The command as execve(2) takes it: arguments, environment, and where PATH says it may lie.

use std::ffi::CString;

use guest_protocol::{GuestMessage, Process, StartFailure};

use crate::user::Identity;

const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why the process could not be started, as the host is told.
#[derive(Debug, PartialEq, Eq)]
pub struct NotStarted {
    pub failure: StartFailure,
    pub message: String,
}

impl NotStarted {
    pub fn other(message: impl Into<String>) -> NotStarted {
        NotStarted { failure: StartFailure::Other, message: message.into() }
    }
}

impl From<NotStarted> for GuestMessage {
    fn from(NotStarted { failure, message }: NotStarted) -> GuestMessage {
        GuestMessage::StartFailed { failure, message }
    }
}

/// What is executed, ready for the kernel.
#[derive(Debug)]
pub struct Command {
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    /// The files to try, in order.
    pub candidates: Vec<CString>,
    pub cwd: CString,
}

/// Completes what the configuration says with what every process is given.
pub fn complete(
    process: &Process,
    identity: &Identity,
    hostname: Option<&str>,
) -> Result<Command, NotStarted> {
    let env = environment(process, identity, hostname);
    let path = variable(&env, b"PATH").unwrap_or(DEFAULT_PATH).to_vec();
    let Some(program) = process.args.first().filter(|program| !program.is_empty()) else {
        return Err(NotStarted::other("no command specified"));
    };
    let cwd = if process.cwd.is_empty() { b"/".to_vec() } else { process.cwd.clone() };
    Ok(Command {
        candidates: c_strings(candidates(program, &path))?,
        args: c_strings(process.args.clone())?,
        env: c_strings(env)?,
        cwd: c_string(cwd)?,
    })
}

fn environment(process: &Process, identity: &Identity, hostname: Option<&str>) -> Vec<Vec<u8>> {
    let mut env = process.env.clone();
    let mut default = |name: &[u8], value: &[u8]| {
        if variable(&env, name).is_none() {
            env.push([name, b"=", value].concat());
        }
    };
    default(b"PATH", DEFAULT_PATH);
    if let Some(hostname) = hostname {
        default(b"HOSTNAME", hostname.as_bytes());
    }
    if process.terminal.is_some() {
        default(b"TERM", b"xterm");
    }
    default(b"HOME", &identity.home);
    env
}

/// The value of a variable: its first entry's, as the C library finds it.
fn variable<'a>(env: &'a [Vec<u8>], name: &[u8]) -> Option<&'a [u8]> {
    env.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))
}

/// Where `program` may lie: as it is when it holds a slash, else in each directory of PATH.
fn candidates(program: &[u8], path: &[u8]) -> Vec<Vec<u8>> {
    if program.contains(&b'/') {
        return vec![program.to_vec()];
    }
    let directories = path.split(|byte| *byte == b':');
    directories
        .map(|directory| if directory.is_empty() { &b"."[..] } else { directory })
        .map(|directory| [directory, b"/", program].concat())
        .collect()
}

fn c_strings(strings: Vec<Vec<u8>>) -> Result<Vec<CString>, NotStarted> {
    strings.into_iter().map(c_string).collect()
}

fn c_string(bytes: Vec<u8>) -> Result<CString, NotStarted> {
    CString::new(bytes).map_err(|_| NotStarted::other("an argument or variable holds a zero byte"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(args: &[&str], env: &[&str]) -> Process {
        let bytes = |strings: &[&str]| strings.iter().map(|s| s.as_bytes().to_vec()).collect();
        let (args, env) = (bytes(args), bytes(env));
        Process { args, env, ..Process::default() }
    }

    fn root() -> Identity {
        Identity { uid: 0, gid: 0, groups: vec![0], home: b"/root".to_vec() }
    }

    fn texts(strings: &[CString]) -> Vec<&str> {
        strings.iter().map(|s| s.to_str().unwrap()).collect()
    }

    #[test]
    fn what_is_missing_in_the_environment_is_added() {
        let command = complete(&process(&["sh"], &["A=1"]), &root(), Some("box")).unwrap();
        let path = format!("PATH={}", str::from_utf8(DEFAULT_PATH).unwrap());
        assert_eq!(texts(&command.env), ["A=1", path.as_str(), "HOSTNAME=box", "HOME=/root"]);
        assert_eq!(command.cwd.to_bytes(), b"/");
    }

    #[test]
    fn what_is_said_stays() {
        let command = complete(&process(&["sh"], &["HOME=", "PATH=/x"]), &root(), None).unwrap();
        assert_eq!(texts(&command.env), ["HOME=", "PATH=/x"]);
        assert_eq!(texts(&command.candidates), ["/x/sh"]);
    }

    #[test]
    fn path_is_searched_for_bare_names_only() {
        let tried = |program: &[u8]| candidates(program, b"/bin::/sbin");
        assert_eq!(tried(b"sh"), [&b"/bin/sh"[..], b"./sh", b"/sbin/sh"]);
        assert_eq!(tried(b"./sh"), [b"./sh"]);
    }

    #[test]
    fn nothing_to_run_is_said() {
        for args in [&[][..], &[""], &["a\0b"]] {
            let failed = complete(&process(args, &[]), &root(), None).unwrap_err();
            assert_eq!(failed.failure, StartFailure::Other, "{args:?}");
        }
    }
}
