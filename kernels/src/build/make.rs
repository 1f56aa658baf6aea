//! Running the kernel's own build, so that it makes the same bytes everywhere.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::{BuildStep, Error, Watcher};

/// What the kernel says of its making, instead of who made it where and when.
const SAYS: [(&str, &str); 4] = [
    ("KBUILD_BUILD_USER", "vmrun"),
    ("KBUILD_BUILD_HOST", "vmrun"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970"),
];
/// All that the build gets to see of this process's environment: a variable such as `ARCH`, or the flags of
/// a make that runs vmrun, would make another kernel.
const KEPT: [&str; 3] = ["PATH", "HOME", "TMPDIR"];

/// How often a build looks whether it is still wanted.
const ATTENTION: Duration = Duration::from_millis(200);

/// The longest line of the log that becomes part of a complaint, in characters.
const LONGEST_SAID: usize = 300;

pub struct Make<'a> {
    tree: &'a Path,
    objects: &'a Path,
    log: &'a Path,
}

impl<'a> Make<'a> {
    /// Builds of `tree` into `objects`; what is said goes to the file `log`.
    pub fn new(tree: &'a Path, objects: &'a Path, log: &'a Path) -> Result<Make<'a>, Error> {
        File::create(log).map_err(|cause| Error::Cache { path: log.to_owned(), cause })?;
        Ok(Make { tree, objects, log })
    }

    /// Makes one target; `asked` are the options that `allnoconfig` sets.
    pub fn run(
        &self,
        target: &str,
        jobs: usize,
        asked: Option<&Path>,
        watcher: &dyn Watcher,
    ) -> Result<(), Error> {
        let failed = |cause| Error::Run { program: "make", cause };
        let mut child =
            self.command(target, jobs, asked).and_then(|mut make| make.spawn()).map_err(failed)?;
        let ended = self.attend(&mut child, watcher);
        if !matches!(ended, Ok(Some(_))) {
            // Its compilers too: they are in its group.
            let _ = kill_process_group(Pid::from_child(&child), Signal::TERM);
            let _ = child.wait();
        }
        match ended.map_err(failed)? {
            None => Err(Error::Cancelled),
            Some(status) if status.success() => Ok(()),
            Some(_) => {
                let said = self.what_was_said().map_err(failed)?;
                Err(Error::Make { target: target.into(), said, log: self.log.to_owned() })
            }
        }
    }

    fn command(&self, target: &str, jobs: usize, asked: Option<&Path>) -> io::Result<Command> {
        let mut objects = std::ffi::OsString::from("O=");
        objects.push(self.objects);
        let mut make = Command::new("make");
        make.arg("-C").arg(self.tree).arg(objects).arg(format!("-j{jobs}")).arg("ARCH=x86_64").arg(target);
        make.env_clear();
        make.envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        make.envs(SAYS).env("LC_ALL", "C").env("TZ", "UTC");
        if let Some(asked) = asked {
            make.env("KCONFIG_ALLCONFIG", asked);
        }
        let log = File::options().append(true).open(self.log)?;
        make.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        Ok(make)
    }

    /// Keeps what it says until it has ended; `None` when it was called off.
    fn attend(&self, child: &mut Child, watcher: &dyn Watcher) -> io::Result<Option<ExitStatus>> {
        let mut log = File::options().append(true).open(self.log)?;
        let Some(output) = child.stdout.take() else { return child.wait().map(Some) };
        let (sender, lines) = mpsc::sync_channel(64);
        // Ends when the pipe does, or when nobody listens any more.
        std::thread::spawn(move || {
            BufReader::new(output).split(b'\n').map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        loop {
            if watcher.cancelled() {
                return Ok(None);
            }
            match lines.recv_timeout(ATTENTION) {
                Ok(mut line) => {
                    if let Some(file) = made_file(&line) {
                        watcher.step(BuildStep::Compiling(file));
                    }
                    line.push(b'\n');
                    log.write_all(&line)?;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return child.wait().map(Some),
            }
        }
    }

    /// The line of the log that says what went wrong.
    fn what_was_said(&self) -> io::Result<String> {
        let text = fs::read(self.log)?;
        let text = String::from_utf8_lossy(&text);
        let told = |sign: &str| text.lines().find(|line| line.contains(sign));
        let line = told("error:").or_else(|| told("rror ")).or_else(|| told("***"));
        let line = line.or(text.lines().last()).unwrap_or("it said nothing");
        Ok(line.trim().chars().take(LONGEST_SAID).collect())
    }
}

/// FILE of a line such as `  CC      FILE`.
fn made_file(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?.strip_prefix("  ")?;
    let (kind, file) = line.split_once(' ')?;
    let is_kind = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    is_kind.then(|| file.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_build_tell_what_is_made() {
        assert_eq!(made_file(b"  CC      kernel/fork.o").as_deref(), Some("kernel/fork.o"));
        assert_eq!(made_file(b"  LD      vmlinux").as_deref(), Some("vmlinux"));
        for line in [&b"make: Entering"[..], b"  ", b"", b"  cc x", b"\xff"] {
            assert_eq!(made_file(line), None);
        }
    }
}
