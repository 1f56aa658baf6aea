//! One request's answer.

use std::ffi::CString;
use std::io::{Read, Write};

use file_tree::{Error, Links, Policy, TreeReader, TreeWriter};
use guest_protocol::files::stream::StreamError;
use guest_protocol::files::{Found, Item, ItemReader, ItemWriter, Request};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, open, readlinkat, statat};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::still::Still;
use super::whiteout::is_for_others;
use super::{Served, changes, layer, root, sync};
use crate::errno::in_words;

/// Where a file cannot be read to its end, so much of it is made up, so that the host hears why.
const MOST_MADE_UP: u64 = 64 << 20;

/// Carries out the request and tells the outcome.
pub fn answer<R: Read, W: Write>(
    request: &Request,
    served: &Served<'_>,
    from: &mut ItemReader<R>,
    to: &mut ItemWriter<W>,
) -> Result<(), StreamError> {
    match carry_out(request, served, from, to) {
        Ok(()) => to.end(Ok(())),
        Err(message) => {
            if to.left() <= MOST_MADE_UP {
                to.pad()?;
            }
            to.end(Err(&message))?;
            if matches!(request, Request::Write { .. }) {
                // The host may wait to be rid of the rest before it listens.
                while !matches!(from.item()?, Item::Done | Item::Failed(_)) {}
            }
            Ok(())
        }
    }
}

fn carry_out<R: Read, W: Write>(
    request: &Request,
    served: &Served<'_>,
    from: &mut ItemReader<R>,
    to: &mut ItemWriter<W>,
) -> Result<(), String> {
    let layers = || {
        let layers = served.guest.layers();
        layers
            .ok_or("the root is not an overlay, for want of one in the kernel: what has changed is not known")
    };
    let enter = || match &served.view {
        Some(view) => enter(view).map_err(|error| said("cannot see the machine's files", b"", error)),
        None => Ok(()),
    };
    match request {
        Request::Look { path, follow } => {
            enter()?;
            let found = look(path, *follow)?;
            to.item(&Item::Found(found)).map_err(|error| error.to_string())
        }
        Request::Read { path, name } => {
            enter()?;
            let path = text(path)?;
            statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| said("cannot read", path.to_bytes(), error))?;
            TreeReader::new(to, is_for_others).tree(CWD, &path, name).map_err(|error| error.to_string())
        }
        Request::Write { directory } => {
            enter()?;
            write(directory, from, to)
        }
        Request::Changes => changes::send(layers()?, to).map_err(|error| error.to_string()),
        Request::Layer { freeze } => {
            // Without a process there is nobody who could be in the way.
            let _still = match served.view.is_some() && *freeze {
                true => Some(Still::begin(&served.parent)?),
                false => None,
            };
            let layers = layers()?;
            sync::write_back(layers);
            layer::send(layers, to).and_then(|()| Ok(to.flush()?)).map_err(|error| error.to_string())
        }
        Request::Root => root::send(served.guest.layers(), to).map_err(|error| error.to_string()),
    }
}

fn enter(view: &OwnedFd) -> Result<(), Errno> {
    use std::os::fd::AsFd;
    move_into_link_name_space(view.as_fd(), Some(LinkNameSpaceType::Mount))
}

fn look(path: &[u8], follow: bool) -> Result<Option<Found>, String> {
    let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    match statat(CWD, text(path)?, flags) {
        Ok(stat) => Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Found::Directory,
            FileType::RegularFile => Found::File,
            FileType::Symlink => {
                let target = readlinkat(CWD, text(path)?, Vec::new());
                Found::Symlink(
                    target.map_err(|error| said("cannot read the link", path, error))?.into_bytes(),
                )
            }
            _ => Found::Other,
        })),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(said("cannot look at", path, error)),
    }
}

fn write<R: Read, W: Write>(
    directory: &[u8],
    from: &mut ItemReader<R>,
    to: &mut ItemWriter<W>,
) -> Result<(), String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = open(text(directory)?, flags, Mode::empty())
        .map_err(|error| said("cannot open the directory", directory, error))?;
    let is_root = match (fstat(&target), statat(CWD, "/", AtFlags::empty())) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    };
    let policy = Policy {
        links: if is_root { Links::Root } else { Links::Beneath },
        owners: true,
        special_modes: true,
        devices: true,
        wanted_xattrs: is_for_others,
    };
    let mut untold = Ok(());
    let mut warn = |text: String| {
        if untold.is_ok() {
            untold = to.warning(&text);
        }
    };
    let written = TreeWriter::new(target, policy, &mut warn).write_all(from);
    written.map_err(|error| match error {
        Error::Stopped(_) => String::from("what was to be copied did not come whole"),
        error => error.to_string(),
    })?;
    untold.map_err(|error| error.to_string())
}

fn text(path: &[u8]) -> Result<CString, String> {
    CString::new(path).map_err(|_| String::from("a path has a NUL in it"))
}

fn said(doing: &str, path: &[u8], error: Errno) -> String {
    match path {
        [] => [doing, ": ", &in_words(&error)].concat(),
        path => [doing, " ‘", &String::from_utf8_lossy(path), "’: ", &in_words(&error)].concat(),
    }
}
