//! The control socket: who comes, what they want, and their streams.

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use guest_protocol::{Stream, frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::life::Happening;
use super::protocol::{FromClient, Reply, Request, ToClient};

/// Connections at once; more are closed.
const MAX_CONNECTIONS: usize = 1024;

/// How long a connection may take to say what it is.
const GREETING: Duration = Duration::from_secs(10);

/// How long a client may take nothing of what it is told, before it is left alone.
const DEAFNESS: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_millis(100);

const STACK: usize = 128 << 10;

/// Streams of clients that have not attached.
const MAX_STREAMS: usize = 256;

/// An attached client's control connection.
#[derive(Debug)]
pub struct Client {
    connection: UnixStream,
    pub token: u64,
}

type Streams = Vec<(Stream, UnixStream)>;

/// Where the streams of a client and its control connection meet.
#[derive(Default)]
struct Rendezvous {
    streams: Mutex<HashMap<u64, Streams>>,
    came: Condvar,
}

impl Rendezvous {
    fn streams(&self) -> MutexGuard<'_, HashMap<u64, Streams>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn come(&self, token: u64, stream: Stream, connection: UnixStream) {
        let mut streams = self.streams();
        if streams.values().map(Vec::len).sum::<usize>() < MAX_STREAMS {
            streams.entry(token).or_default().push((stream, connection));
            self.came.notify_all();
        }
    }

    /// The streams with this token, when so many are there; nothing where they do not come.
    fn await_streams(&self, token: u64, count: usize) -> Option<Streams> {
        let missing = |streams: &mut HashMap<u64, Streams>| streams.get(&token).map_or(0, Vec::len) < count;
        let waited = self.came.wait_timeout_while(self.streams(), GREETING, missing);
        let (mut streams, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        let found = streams.remove(&token).unwrap_or_default();
        (!timeout.timed_out()).then_some(found)
    }
}

impl Client {
    /// Whether it has taken it. One that does not is left alone: after half a frame nothing more is understood.
    pub fn tell(&self, message: &ToClient) -> bool {
        let told = frame::write(&self.connection, message).is_ok();
        if !told {
            let _ = self.connection.shutdown(Shutdown::Both);
        }
        told
    }
}

/// Whoever waits for the answer to a request.
#[derive(Debug)]
pub struct Asker(UnixStream);

impl Asker {
    /// Whether it waits no longer.
    pub fn has_left(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    pub fn answer(self, reply: &Reply) {
        let _ = frame::write(&self.0, reply);
    }
}

/// Serves `listener` for as long as the process runs.
pub fn serve(listener: UnixListener, happen: Sender<Happening>) -> io::Result<()> {
    let count = Arc::new(AtomicUsize::new(0));
    let rendezvous = Arc::new(Rendezvous::default());
    thread::Builder::new().stack_size(STACK).spawn(move || {
        for connection in listener.incoming() {
            let Ok(connection) = connection else {
                // Out of descriptors: somebody may leave.
                thread::sleep(PAUSE);
                continue;
            };
            if count.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
                count.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let (happen, held, rendezvous) = (happen.clone(), Arc::clone(&count), Arc::clone(&rendezvous));
            let served = thread::Builder::new().stack_size(STACK).spawn(move || {
                greet(connection, &rendezvous, &happen);
                held.fetch_sub(1, Ordering::SeqCst);
            });
            if served.is_err() {
                count.fetch_sub(1, Ordering::SeqCst);
            }
        }
    })?;
    Ok(())
}

/// Garbage, or nothing, closes the connection and harms nobody.
fn greet(connection: UnixStream, rendezvous: &Rendezvous, happen: &Sender<Happening>) {
    let timed = connection.set_read_timeout(Some(GREETING));
    let Ok(request) = frame::read::<Request>(&connection) else { return };
    let timed = timed.and_then(|()| connection.set_read_timeout(None));
    if timed.and_then(|()| connection.set_write_timeout(Some(DEAFNESS))).is_err() {
        return;
    }
    match request {
        Request::Attach { token, streams } => {
            if let Some(streams) = rendezvous.await_streams(token, streams.into()) {
                attend(connection, token, streams, happen);
            }
        }
        Request::Stream { token, stream } => {
            // Output waits for a slow reader as long as it takes.
            if connection.set_write_timeout(None).is_ok() {
                rendezvous.come(token, stream, connection);
            }
        }
        request => drop(happen.send(Happening::Request(request, Asker(connection)))),
    }
}

fn attend(connection: UnixStream, token: u64, streams: Streams, happen: &Sender<Happening>) {
    let Ok(reader) = connection.try_clone() else { return };
    if happen.send(Happening::Attached(Client { connection, token }, streams)).is_err() {
        return;
    }
    while let Ok(message) = frame::read::<FromClient>(&reader) {
        if happen.send(Happening::Said(message)).is_err() {
            return;
        }
    }
    let _ = happen.send(Happening::Left(token));
}
