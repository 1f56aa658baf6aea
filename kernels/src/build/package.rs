//! Debian's source packages of the kernel, by the host's own apt.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Error, Watcher, digest};
use crate::staging::{Staging, StoreLock};

/// How long it may take until a call-off is heard.
const ATTENTION: Duration = Duration::from_millis(100);

/// A package as the archive's signed index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    name: String,
    file: String,
    pub sha256: String,
}

impl Package {
    /// Looks `name` up in the index that this host has. Nothing is downloaded.
    pub fn find(name: &str, watcher: &dyn Watcher) -> Result<Package, Error> {
        let failed = |why: String| Error::Package { package: name.into(), why };
        let said = attend(apt(name, Path::new("/"), &["--print-uris"]), watcher);
        let said = said.map_err(|error| failed(no_apt(&error)))?.ok_or(Error::Cancelled)?;
        let text = String::from_utf8_lossy(&said.stdout);
        let found = text.lines().find_map(|line| parse(name, line));
        found.ok_or_else(|| failed(format!("{}; `apt-get update` may help", last_line(&said))))
    }

    /// The package's file in the `cache`, which may have been downloaded before.
    pub fn fetch(&self, cache: &Path, watcher: &dyn Watcher) -> Result<PathBuf, Error> {
        let directory = cache.join("packages");
        let place = directory.join(&self.file);
        let failed = |cause| Error::Cache { path: directory.clone(), cause };
        if place.is_file() && digest::of_file(&place, watcher)? == self.sha256 {
            return Ok(place);
        }
        std::fs::create_dir_all(&directory).map_err(failed)?;
        let staging = Staging::new(&directory).map_err(failed)?;
        let refused = |why: String| Error::Package { package: self.name.clone(), why };
        let said = attend(apt(&self.name, staging.path(), &[]), watcher);
        let said = said.map_err(|error| refused(no_apt(&error)))?.ok_or(Error::Cancelled)?;
        if !said.status.success() {
            return Err(refused(last_line(&said)));
        }
        let downloaded = staging.path().join(&self.file);
        let found = digest::of_file(&downloaded, watcher)?;
        if found != self.sha256 {
            return Err(refused(format!("SHA-256 {found} came, the archive's index has {}", self.sha256)));
        }
        let _lock = StoreLock::acquire(&directory).map_err(failed)?;
        std::fs::rename(&downloaded, &place).map_err(failed)?;
        Ok(place)
    }
}

impl std::fmt::Display for Package {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str(&self.file)
    }
}

/// `apt-get download`, which leaves the file in `directory`, and needs not be root for that.
fn apt(name: &str, directory: &Path, more: &[&str]) -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(["download", "-q", "-o", "APT::Sandbox::User="])
        .args(more)
        .arg(name)
        .current_dir(directory)
        .env("LC_ALL", "C");
    apt
}

/// What a program says until it ends; `None` when the build was called off.
fn attend(mut command: Command, watcher: &dyn Watcher) -> io::Result<Option<Output>> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let id = Pid::from_child(&child);
    let (sender, ended) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let output = child.wait_with_output();
        // Nobody listens any more when it was called off.
        let _ = sender.send(());
        output
    });
    while !watcher.cancelled() {
        if ended.recv_timeout(ATTENTION) != Err(RecvTimeoutError::Timeout) {
            let output = reader.join().unwrap_or_else(|_| Err(io::Error::other("its output was lost")))?;
            // ^C ends it before we hear of it.
            return Ok((!watcher.cancelled()).then_some(output));
        }
    }
    if ended.try_recv().is_err() {
        let _ = kill_process(id, Signal::TERM);
    }
    Ok(None)
}

/// `'URI' FILE SIZE SHA256:DIGEST`
fn parse(name: &str, line: &str) -> Option<Package> {
    let mut words = line.split(' ');
    let (_uri, file, _size, digest) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let sha256 = digest.strip_prefix("SHA256:")?;
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_file = file.starts_with(name) && file.ends_with(".deb") && !file.contains('/');
    (is_digest && is_file).then(|| Package { name: name.into(), file: file.into(), sha256: sha256.into() })
}

fn no_apt(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "this host has no apt-get: download the source, and name its archive with --source".into()
        }
        _ => format!("cannot run apt-get: {error}"),
    }
}

fn last_line(said: &Output) -> String {
    let text = String::from_utf8_lossy(&said.stderr);
    let line = text.lines().rfind(|line| line.starts_with("E: ")).or(text.lines().last()).unwrap_or_default();
    line.trim_start_matches("E: ").to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::BuildStep;
    use super::*;

    struct CalledOffAfter(Instant);

    impl Watcher for CalledOffAfter {
        fn step(&self, _: BuildStep) {}

        fn cancelled(&self) -> bool {
            Instant::now() > self.0
        }
    }

    #[test]
    fn a_program_that_nobody_waits_for_any_more_is_ended() {
        let run = |script: &str, patience| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            attend(command, &CalledOffAfter(Instant::now() + patience)).unwrap()
        };
        let said = run("echo x; echo y >&2", Duration::from_secs(60)).unwrap();
        assert_eq!((&said.stdout[..], &said.stderr[..]), (&b"x\n"[..], &b"y\n"[..]));
        let begun = Instant::now();
        assert!(run("exec sleep 50", Duration::from_millis(200)).is_none());
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn what_apt_prints_is_read() {
        let digest = "e849faf31ca3555757f3a8877cb01af92122f744f75d1f3102734651c4e14703";
        let line = |file: &str, digest: &str| format!("'http://x/y%7e.deb' {file} 153476148 {digest}");
        let file = "linux-source-6.12_6.12.117-1~deb12u1_all.deb";
        let found = parse("linux-source-6.12", &line(file, &format!("SHA256:{digest}"))).unwrap();
        assert_eq!((found.file.as_str(), found.sha256.as_str()), (file, digest));
        for (file, digest) in
            [("linux-source-6.12/../x.deb", digest), (file, "12"), ("other_1_all.deb", digest)]
        {
            let line = line(file, &format!("SHA256:{digest}"));
            assert_eq!(parse("linux-source-6.12", &line), None, "{line}");
        }
        assert_eq!(parse("linux-source-6.12", "Reading package lists..."), None);
    }
}
