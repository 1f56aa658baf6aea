//! Files on their way to the host and back: what `cp`, `diff`, `commit` and `export` ask for.
//!
//! Each connection is served by a child of its own, which may wait for disks and for the host as long as
//! it takes. It sees what the machine's process sees, so that paths, links and mounts are those that a
//! shell in the machine would meet.

mod answer;
mod changes;
mod layer;
mod placeholders;
mod root;
mod still;
mod sync;
mod whiteout;

#[cfg(test)]
mod layers_test;

use std::fs::File;
use std::rc::Rc;
use std::time::Duration;

use guest_protocol::files::{ItemReader, ItemWriter, Request};
use guest_protocol::frame;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;

use crate::descriptors::close_all_but;
use crate::guest::Guest;
use crate::{image_init, log, signals};

/// How long the host may take nothing of an answer while the machine's processes stand still.
const HOST_PATIENCE: Duration = Duration::from_secs(60);

/// What there is to serve from.
pub struct Served<'a> {
    pub guest: &'a Guest,
    connection: &'a Rc<OwnedFd>,
    /// The way to guest-init's main process, which has processes stand still.
    parent: OwnedFd,
    /// Whether the machine has a process, and so a view of its own.
    view: Option<OwnedFd>,
}

/// Serves the connection in a child, whose way to the caller is returned. `process` is the machine's own, while it runs.
pub fn serve(connection: &Rc<OwnedFd>, guest: &Guest, process: Option<Pid>) -> Option<OwnedFd> {
    // Looked up here: a child's own /proc may be another one.
    let view = process.and_then(|pid| {
        let path = ["/proc/", &pid.as_raw_nonzero().to_string(), "/ns/mnt"].concat();
        open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
    });
    let (way, parent) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).ok()?;
    fcntl_getfl(&way).and_then(|flags| fcntl_setfl(&way, flags | OFlags::NONBLOCK)).ok()?;
    let served = Served { guest, connection, parent, view };
    // SAFETY: guest-init has one thread, so the child's copy of memory is whole and no lock in it is
    // held by a thread that it does not have.
    match unsafe { libc::fork() } {
        -1 => {
            log::note("there is no process to serve files");
            None
        }
        0 => {
            attend(&served);
            // SAFETY: ends this child at once, without anything of the parent's being run or flushed.
            unsafe { libc::_exit(0) };
        }
        _ => Some(way),
    }
}

/// The child's life. What goes wrong with the connection itself cannot be told to anybody.
fn attend(served: &Served<'_>) {
    let Served { guest, connection, parent, view } = served;
    let mut kept = vec![connection.as_raw_fd(), parent.as_raw_fd()];
    if let Some(layers) = guest.layers() {
        kept.extend([layers.upper.as_raw_fd(), layers.lower.as_raw_fd()]);
    }
    kept.extend(view.as_ref().map(AsRawFd::as_raw_fd));
    let _ = close_all_but(&mut kept);
    image_init::be_spared_no_more();
    signals::reset();
    // A host that is gone may leave something to undo.
    signals::ignore_broken_pipes();
    rustix::process::umask(Mode::empty());
    let blocking =
        fcntl_getfl(connection).and_then(|flags| fcntl_setfl(connection, flags - OFlags::NONBLOCK));
    let (Ok(()), Ok(connection)) = (blocking, connection.try_clone()) else { return };
    let connection = File::from(connection);
    let Ok(request) = frame::read::<Request>(&connection) else { return };
    if let Request::Layer { freeze: true } = request {
        let _ = set_socket_timeout(&connection, Timeout::Send, Some(HOST_PATIENCE));
    }
    let mut from = ItemReader::new(&connection);
    let mut to = ItemWriter::new(&connection);
    let _ = answer::answer(&request, served, &mut from, &mut to);
}
