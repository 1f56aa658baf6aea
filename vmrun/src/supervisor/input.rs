//! The process's input: from whoever is attached, to the guest.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use guest_protocol::port;

const STACK: usize = 128 << 10;

/// The way into the guest, for all clients together.
#[derive(Default)]
pub struct Input {
    way: Mutex<Way>,
    changed: Condvar,
}

#[derive(Default)]
struct Way {
    guest: Guest,
    /// Which life of the machine it leads to.
    generation: u32,
}

#[derive(Default)]
enum Guest {
    /// The machine has not come so far.
    #[default]
    Awaited,
    Open(Arc<UnixStream>),
    /// Nothing is taken any more.
    Over,
}

impl Input {
    fn lock(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, guest: Guest) {
        self.lock().guest = guest;
        self.changed.notify_all();
    }

    pub fn open(&self, guest: UnixStream) {
        self.set(Guest::Open(Arc::new(guest)));
    }

    pub fn end(&self) {
        self.set(Guest::Over);
    }

    /// For the next start of the machine. What was meant for the last is not for this one.
    pub fn reopen(&self) {
        let mut way = self.lock();
        *way = Way { guest: Guest::Awaited, generation: way.generation + 1 };
        drop(way);
        self.changed.notify_all();
    }

    /// The guest's end in that life, as soon as it is there.
    fn wait(&self, generation: u32) -> Option<Arc<UnixStream>> {
        let mut way = self.lock();
        loop {
            if way.generation != generation {
                return None;
            }
            match &way.guest {
                Guest::Awaited => way = self.changed.wait(way).unwrap_or_else(PoisonError::into_inner),
                Guest::Open(guest) => return Some(Arc::clone(guest)),
                Guest::Over => return None,
            }
        }
    }

    /// Carries what `client` sends, in pieces, until it leaves; its empty piece closes the process's input.
    pub fn carry(self: &Arc<Self>, client: UnixStream) {
        let (input, generation) = (Arc::clone(self), self.lock().generation);
        // Without a thread the client is not heard, and sees its connection close.
        let _ = thread::Builder::new().stack_size(STACK).spawn(move || {
            let mut piece = Vec::new();
            while let Ok(more) = port::read(&client, &mut piece) {
                let Some(guest) = input.wait(generation) else { return };
                if !more {
                    let _ = guest.shutdown(Shutdown::Write);
                    return;
                }
                if (&*guest).write_all(&piece).is_err() {
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn who_came_before_a_restart_says_nothing_after_it() {
        let input = Arc::new(Input::default());
        let (before, served) = UnixStream::pair().unwrap();
        input.carry(served);
        input.end();
        input.reopen();
        let (after, served) = UnixStream::pair().unwrap();
        input.carry(served);
        port::write(&before, b"old").unwrap();
        port::write(&after, b"new").unwrap();
        port::end(&after).unwrap();
        let (guest, mut process) = UnixStream::pair().unwrap();
        input.open(guest);
        let mut got = String::new();
        process.read_to_string(&mut got).unwrap();
        assert_eq!(got, "new");
    }
}
