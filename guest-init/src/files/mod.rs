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
mod standstill;
mod sync;
mod whiteout;

#[cfg(test)]
mod layers_test;

use std::fs::File;
use std::rc::Rc;
use std::time::Duration;

use guest_protocol::files::{ItemReader, ItemWriter, Request};
use guest_protocol::frame;
use rustix::fd::{AsRawFd, OwnedFd, RawFd};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::Pid;

use crate::cgroup::Cgroup;
use crate::guest::Guest;
use crate::{image_init, log, signals};

/// Descriptors beyond this are not looked for where the kernel cannot close a range of them.
const MAX_DESCRIPTOR: RawFd = 1024;

/// How long the host may take nothing of an answer while the machine's processes stand still.
const HOST_PATIENCE: Duration = Duration::from_secs(60);

/// What there is to serve from.
pub struct Served<'a> {
    pub guest: &'a Guest,
    pub connection: &'a Rc<OwnedFd>,
    /// Whether the machine has a process, and so a view of its own.
    view: Option<OwnedFd>,
}

/// Serves the connection in a child. `process` is the machine's own, while it runs.
pub fn serve(connection: &Rc<OwnedFd>, guest: &Guest, process: Option<Pid>) {
    // Looked up here: a child's own /proc may be another one.
    let view = process.and_then(|pid| {
        let path = ["/proc/", &pid.as_raw_nonzero().to_string(), "/ns/mnt"].concat();
        open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
    });
    let served = Served { guest, connection, view };
    // SAFETY: guest-init has one thread, so the child's copy of memory is whole and no lock in it is
    // held by a thread that it does not have.
    match unsafe { libc::fork() } {
        -1 => log::note("there is no process to serve files"),
        0 => {
            attend(&served);
            // SAFETY: ends this child at once, without anything of the parent's being run or flushed.
            unsafe { libc::_exit(0) };
        }
        _ => {}
    }
}

/// The child's life. What goes wrong with the connection itself cannot be told to anybody.
fn attend(served: &Served<'_>) {
    let Served { guest, connection, view } = served;
    let mut kept = vec![connection.as_raw_fd()];
    if let Some(layers) = guest.layers() {
        kept.extend([layers.upper.as_raw_fd(), layers.lower.as_raw_fd()]);
    }
    let freezer = guest.cgroup.as_ref().and_then(Cgroup::freezer_fd);
    kept.extend(freezer.as_ref().map(AsRawFd::as_raw_fd));
    kept.extend(view.as_ref().map(AsRawFd::as_raw_fd));
    close_others(kept);
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

/// Closes every descriptor from 3 on but these: the child would keep alive what others end by closing.
fn close_others(mut kept: Vec<RawFd>) {
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept {
        close_range(first, fd - 1);
        first = fd + 1;
    }
    close_range(first, RawFd::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: the descriptors belong to owners in this process's copy of guest-init that are never
    // used nor dropped: the child ends by _exit.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, last, 0) == 0 {
            return;
        }
        // Before Linux 5.9.
        for fd in first..=last.min(MAX_DESCRIPTOR) {
            libc::close(fd);
        }
    }
}
