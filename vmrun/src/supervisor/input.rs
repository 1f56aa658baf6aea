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
    guest: Mutex<Guest>,
    changed: Condvar,
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
    fn lock(&self) -> MutexGuard<'_, Guest> {
        self.guest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, guest: Guest) {
        *self.lock() = guest;
        self.changed.notify_all();
    }

    pub fn open(&self, guest: UnixStream) {
        self.set(Guest::Open(Arc::new(guest)));
    }

    pub fn end(&self) {
        self.set(Guest::Over);
    }

    /// For the next start of the machine.
    pub fn reopen(&self) {
        self.set(Guest::Awaited);
    }

    /// The guest's end, as soon as it is there.
    fn wait(&self) -> Option<Arc<UnixStream>> {
        let mut guest = self.lock();
        loop {
            match &*guest {
                Guest::Awaited => guest = self.changed.wait(guest).unwrap_or_else(PoisonError::into_inner),
                Guest::Open(guest) => return Some(Arc::clone(guest)),
                Guest::Over => return None,
            }
        }
    }

    /// Carries what `client` sends, in pieces, until it leaves; its empty piece closes the process's input.
    pub fn carry(self: &Arc<Self>, client: UnixStream) {
        let input = Arc::clone(self);
        // Without a thread the client is not heard, and sees its connection close.
        let _ = thread::Builder::new().stack_size(STACK).spawn(move || {
            let mut piece = Vec::new();
            while let Ok(more) = port::read(&client, &mut piece) {
                let Some(guest) = input.wait() else { return };
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
