//! Debian's source packages of the kernel, by the host's own apt.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{Error, digest};
use crate::staging::{Staging, StoreLock};

/// A package as the archive's signed index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    name: String,
    file: String,
    pub sha256: String,
}

impl Package {
    /// Looks `name` up in the index that this host has. Nothing is downloaded.
    pub fn find(name: &str) -> Result<Package, Error> {
        let failed = |why: String| Error::Package { package: name.into(), why };
        let said = apt(name, Path::new("/"), &["--print-uris"]).map_err(|error| failed(no_apt(&error)))?;
        let text = String::from_utf8_lossy(&said.stdout);
        let found = text.lines().find_map(|line| parse(name, line));
        found.ok_or_else(|| failed(format!("{}; `apt-get update` may help", last_line(&said))))
    }

    /// The package's file in the `cache`, which may have been downloaded before.
    pub fn fetch(&self, cache: &Path) -> Result<PathBuf, Error> {
        let directory = cache.join("packages");
        let place = directory.join(&self.file);
        let failed = |cause| Error::Cache { path: directory.clone(), cause };
        if place.is_file() && digest::of_file(&place).map_err(failed)? == self.sha256 {
            return Ok(place);
        }
        std::fs::create_dir_all(&directory).map_err(failed)?;
        let staging = Staging::new(&directory).map_err(failed)?;
        let refused = |why: String| Error::Package { package: self.name.clone(), why };
        let said = apt(&self.name, staging.path(), &[]).map_err(|error| refused(no_apt(&error)))?;
        if !said.status.success() {
            return Err(refused(last_line(&said)));
        }
        let downloaded = staging.path().join(&self.file);
        let found = digest::of_file(&downloaded).map_err(failed)?;
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
fn apt(name: &str, directory: &Path, more: &[&str]) -> io::Result<Output> {
    Command::new("apt-get")
        .args(["download", "-q", "-o", "APT::Sandbox::User="])
        .args(more)
        .arg(name)
        .current_dir(directory)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
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
    use super::*;

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
