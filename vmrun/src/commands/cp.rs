//! `vmrun cp`: files between this host and a machine.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use guest_protocol::files::{Found, Request};

use crate::arguments::CpArguments;
use crate::files::{
    Destination, Guest, OpenMachine, Place, SourceName, TarStream, receive, send, send_archive,
};
use crate::home::Home;
use crate::output::{stdout, warn};
use crate::size;

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
enum End<'a> {
    Machine {
        name: &'a str,
        path: Vec<u8>,
    },
    Local(&'a Path),
    /// A tar archive on standard input or output.
    Stream,
}

pub fn cp(home: &Home, arguments: &CpArguments) -> Result<u8> {
    let copied = match (End::parse(&arguments.source)?, End::parse(&arguments.destination)?) {
        (End::Machine { name, path }, to @ (End::Local(_) | End::Stream)) => {
            let machine = OpenMachine::open(home, name)?;
            let copy = Copy { guest: &machine.guest, arguments };
            let copied = copy.outward(&path, &to);
            copied.with_context(|| format!("cannot copy from {}", shown(&arguments.source)))?
        }
        (from @ (End::Local(_) | End::Stream), End::Machine { name, path }) => {
            let machine = OpenMachine::open(home, name)?;
            let copy = Copy { guest: &machine.guest, arguments };
            let copied = copy.inward(&from, &path);
            let finished = copied.and_then(|copied| machine.finish().map(|()| copied));
            finished.with_context(|| format!("cannot copy to {}", shown(&arguments.destination)))?
        }
        (End::Machine { .. }, End::Machine { .. }) => {
            bail!("cannot copy from machine to machine: `vmrun cp A:PATH - | vmrun cp - B:DIRECTORY` does")
        }
        _ => bail!(
            "neither {} nor {} is in a machine: write MACHINE:PATH",
            shown(&arguments.source),
            shown(&arguments.destination)
        ),
    };
    if !arguments.quiet {
        warn(&format!("Successfully copied {} to {}", size::show(copied), shown(&arguments.destination)));
    }
    Ok(0)
}

impl<'a> End<'a> {
    /// As Docker: `./a:b` and `/a:b` are paths of this host.
    fn parse(word: &'a OsStr) -> Result<End<'a>> {
        let bytes = word.as_bytes();
        if bytes.is_empty() {
            bail!("a path is empty: write . or MACHINE:/");
        }
        if bytes == b"-" {
            return Ok(End::Stream);
        }
        let local = End::Local(Path::new(word));
        let Some(colon) = bytes.iter().position(|byte| *byte == b':') else { return Ok(local) };
        let name = &bytes[..colon];
        match std::str::from_utf8(name) {
            Ok(name) if !name.is_empty() && !name.starts_with('.') && !name.contains('/') => {
                let path = &bytes[colon + 1..];
                if path.is_empty() {
                    bail!("{} names no path: write {name}:/ for all of the machine's files", shown(word));
                }
                let path = if path.starts_with(b"/") { path.to_vec() } else { [b"/", path].concat() };
                Ok(End::Machine { name, path })
            }
            _ => Ok(local),
        }
    }
}

struct Copy<'a> {
    guest: &'a Guest,
    arguments: &'a CpArguments,
}

impl Copy<'_> {
    /// Copies out of the machine; returns how many bytes the files have.
    fn outward(&self, path: &[u8], to: &End<'_>) -> Result<u64> {
        let (from, found) = match self.guest.look(path, false)? {
            Some(Found::Symlink(_)) if self.arguments.follow_link => self.guest.resolve(path)?,
            found => (path.to_vec(), found),
        };
        let Some(found) = found else { bail!("there is no such file or directory") };
        let source = SourceName::of(path, found == Found::Directory);
        let request = |name: &[u8]| Request::Read { path: from.clone(), name: name.to_vec() };
        let mut warn = |text: String| self.guest.warning(&text);
        let End::Local(local) = to else {
            if io::stdout().is_terminal() {
                bail!("an archive is not for a terminal: redirect standard output");
            }
            let answer = self.guest.ask(&request(source.name.as_deref().unwrap_or_default()))?;
            let mut stream = TarStream::new(answer, &mut warn);
            let mut out = stdout();
            let copied = io::copy(&mut stream, &mut out).and_then(|_| out.flush());
            let total = stream.total();
            return stream.outcome(copied, self.guest).map(|()| total);
        };
        let destination = local_destination(&source, local)?;
        let directory = Path::new(OsStr::from_bytes(&destination.directory));
        let mut answer = self.guest.ask(&request(&destination.name))?;
        match receive(directory, &destination.name, self.arguments.archive, &mut answer, &mut warn)? {
            Ok(()) => Ok(answer.total()),
            Err(file_tree::Error::Stopped(stopped)) => Err(self.guest.explain(stopped)),
            Err(error) => Err(anyhow::Error::new(error).context(format!("in {}", directory.display()))),
        }
    }

    /// Copies into the machine.
    fn inward(&self, from: &End<'_>, path: &[u8]) -> Result<u64> {
        let (path, found) = self.guest.resolve(path)?;
        let place = match found {
            None => Place::Nothing,
            Some(Found::Directory) => Place::Directory,
            Some(_) => Place::File,
        };
        let End::Local(local) = from else {
            if place != Place::Directory {
                bail!("an archive is unpacked into an existing directory, and this is none");
            }
            let mut delivery = self.guest.deliver(&path)?;
            let sent = send_archive(io::stdin().lock(), &mut delivery.items)?;
            return delivery.finish(sent);
        };
        let (local, source) = self.local_source(local)?;
        let destination = Destination::of(&source, &path, place)?;
        let mut delivery = self.guest.deliver(&destination.directory)?;
        let sent = send(&local, &destination.name, self.arguments.archive, &mut delivery.items);
        delivery.finish(sent)
    }

    /// What is to be read, and what it is called.
    fn local_source(&self, path: &Path) -> Result<(PathBuf, SourceName)> {
        let bytes = path.as_os_str().as_bytes();
        let follows = self.arguments.follow_link || bytes.ends_with(b"/");
        let metadata = if follows { fs::metadata(path) } else { fs::symlink_metadata(path) };
        let cannot = || format!("cannot read {}", path.display());
        let metadata = metadata.with_context(cannot)?;
        let mut source = SourceName::of(bytes, metadata.is_dir());
        // What `..` is called is known to the file system alone.
        if bytes == b".." || bytes.ends_with(b"/..") {
            let name = fs::canonicalize(path).with_context(cannot)?;
            source.name = name.file_name().map(|name| name.to_owned().into_vec());
        }
        let local = match self.arguments.follow_link && path.is_symlink() {
            true => fs::canonicalize(path).with_context(cannot)?,
            false => path.to_owned(),
        };
        Ok((local, source))
    }
}

/// A copy over a link to a file goes to that file.
fn local_destination(source: &SourceName, path: &Path) -> Result<Destination> {
    let (path, place) = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => (path.to_owned(), Place::Directory),
        Ok(_) if path.is_symlink() => (fs::canonicalize(path)?, Place::File),
        Ok(_) => (path.to_owned(), Place::File),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (path.to_owned(), Place::Nothing),
        Err(error) => return Err(error).with_context(|| format!("cannot look at {}", path.display())),
    };
    Destination::of(source, path.as_os_str().as_bytes(), place)
}

fn shown(word: &OsStr) -> impl std::fmt::Display {
    word.display()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_path_is_told_from_this_hosts() {
        let parse = |word: &'static str| End::parse(OsStr::new(word)).unwrap();
        let machine = |path: &str| End::Machine { name: "box", path: path.into() };
        assert_eq!(parse("box:/etc/hosts"), machine("/etc/hosts"));
        assert_eq!(parse("box:etc/a:b"), machine("/etc/a:b"));
        for local in ["./box:x", "/box:x", "../a:b", "plain", "a/b:c", ":x"] {
            assert_eq!(parse(local), End::Local(Path::new(local)), "{local}");
        }
        assert_eq!(parse("-"), End::Stream);
        assert!(End::parse(OsStr::new("box:")).is_err());
        assert!(End::parse(OsStr::new("")).is_err());
    }
}
