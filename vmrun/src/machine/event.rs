//! What the monitor process tells the process that started it.

use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, channel};

use guest_protocol::frame;
use serde::{Deserialize, Serialize};
use vmm::{End, Trouble};

/// One happening in a machine, sent as a frame over the monitor's standard output. Times are
/// nanoseconds of CLOCK_MONOTONIC, the same clock for both processes.
#[derive(Debug, Serialize, Deserialize)]
pub enum Event {
    /// The machine is built and its first instruction is next.
    Started { at: u64 },
    /// The guest wrote `byte` to the stamp port, or said it in its kernel's log.
    Stamp { byte: u8, at: u64 },
    /// The guest wrote to its serial port.
    Serial(Vec<u8>),
    /// Something went wrong with which the machine goes on.
    Trouble(Trouble),
    /// The guest has ended.
    /// What of the jail this host could not provide is in `jail_gaps`, one gap an item.
    Ended { end: End, jail_gaps: Vec<String> },
    /// The monitor could not go on.
    Failed { message: String },
}

/// How many events may wait to be attended to. Then the monitor's pipe fills, and the guest that has so much to tell
/// waits itself.
const WAITING: usize = 1024;

/// The place of an event among those that wait, free again when it is dropped.
#[derive(Debug)]
pub struct Place(Sender<()>);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// The places that there are.
struct Places {
    free: Receiver<()>,
    give_back: Sender<()>,
}

impl Places {
    fn new(count: usize) -> Places {
        let (give_back, free) = channel();
        for _ in 0..count {
            let _ = give_back.send(());
        }
        Places { free, give_back }
    }

    /// Waits until there is one.
    fn take(&self) -> Place {
        // Never fails: we hold a sender ourselves.
        let _ = self.free.recv();
        Place(self.give_back.clone())
    }
}

/// Tells all that a monitor says, until it is gone or nobody listens any more (`false`).
pub fn tell_events(mut events: impl Read, mut tell: impl FnMut(Event, Place) -> bool) -> bool {
    let places = Places::new(WAITING);
    while let Ok(event) = frame::read::<Event>(&mut events) {
        if !tell(event, places.take()) {
            return false;
        }
    }
    true
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_guest_that_nobody_attends_to_fills_its_pipe_and_no_memory() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let (tell, told) = channel();
        std::thread::spawn(move || tell_events(reader, |event, place| tell.send((event, place)).is_ok()));
        static WRITTEN: AtomicUsize = AtomicUsize::new(0);
        std::thread::spawn(move || {
            let mut frame = Vec::new();
            frame::write(&mut frame, &Event::Serial(vec![7; 250])).unwrap();
            while writer.write_all(&frame).is_ok() {
                WRITTEN.fetch_add(1, Ordering::Relaxed);
            }
        });
        // All places and the pipe, which has 64 KiB, are full then.
        let until = Instant::now() + Duration::from_secs(20);
        let mut seen = 0;
        while seen < WAITING || WRITTEN.load(Ordering::Relaxed) > seen {
            assert!(Instant::now() < until);
            seen = WRITTEN.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(seen < WAITING + 400, "{seen} events");
        drop(told.iter().take(WAITING).collect::<Vec<_>>());
        while WRITTEN.load(Ordering::Relaxed) < seen + WAITING / 2 {
            assert!(Instant::now() < until, "it does not go on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
