//! A queue in use: chains out, used buffers back, and neither side woken more often than it needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vmm_sys_util::eventfd::EventFd;

use super::chain::Chain;
use super::device::ActiveQueue;
use super::{DeviceMemory, GuestRam, Interrupt};

/// Bytes after which a device lets the others have a turn, however much its driver still has for it.
const BYTES_PER_TURN: usize = 32 << 20;

/// What a device made of a chain.
pub struct Answer {
    /// Bytes of its writable buffers that were filled.
    pub written: u32,
    /// Bytes that the device worked on beside the chain's own, by which its turn becomes shorter.
    pub work: usize,
}

impl Answer {
    /// The work after which the turn is over.
    pub const WHOLE_TURN: usize = BYTES_PER_TURN;
}

/// One queue of an active device.
///
/// A driver that breaks the ring itself (an impossible index, a head outside of the table) is told by
/// DEVICE_NEEDS_RESET, and the ring yields nothing more. A chain that is broken by itself is yielded empty.
pub struct Ring {
    index: usize,
    queue: Queue,
    stopped: Arc<AtomicBool>,
    kick: Arc<EventFd>,
    interrupt: Arc<Interrupt>,
    /// Chains were completed that the driver has not been told of.
    unannounced: bool,
    broken: bool,
}

impl Ring {
    pub fn new(active: ActiveQueue, interrupt: Arc<Interrupt>) -> Self {
        Self {
            index: active.index,
            queue: active.queue,
            stopped: active.stopped,
            kick: active.kick,
            interrupt,
            unannounced: false,
            broken: false,
        }
    }

    /// Answers every available chain with `serve`, which returns how many bytes it wrote to it.
    ///
    /// Takes a bounded turn: a driver that keeps refilling the ring is continued at the next event.
    pub fn serve_all(&mut self, memory: &DeviceMemory, mut serve: impl FnMut(&Chain) -> u32) {
        let serve = |chain: &Chain| Some(Answer { written: serve(chain), work: 0 });
        self.serve_all_with_pauses(memory, |_| false, serve);
    }

    /// Does the same; before a chain that `takes_long`, the driver hears of those that were answered. A chain that has
    /// no answer breaks the ring.
    pub fn serve_all_with_pauses(
        &mut self,
        memory: &DeviceMemory,
        takes_long: impl Fn(&Chain) -> bool,
        mut serve: impl FnMut(&Chain) -> Option<Answer>,
    ) {
        let (mut chains, mut bytes) = (0, 0_usize);
        self.suppress_kicks(memory);
        loop {
            if let Some(chain) = self.pop(memory) {
                if self.unannounced && takes_long(&chain) {
                    self.notify_driver(memory);
                }
                match serve(&chain) {
                    Some(answer) => {
                        self.complete(memory, chain.head, answer.written);
                        bytes = bytes.saturating_add(chain.len()).saturating_add(answer.work);
                    }
                    None => self.give_up(),
                }
            } else if !self.expect_kicks(memory) {
                break;
            }
            chains += 1;
            if chains >= self.queue.size() || bytes >= BYTES_PER_TURN {
                self.continue_later();
                break;
            }
        }
        self.notify_driver(memory);
    }

    /// The next available chain.
    pub fn pop<'m>(&mut self, memory: &'m DeviceMemory) -> Option<Chain<'m>> {
        if self.is_idle() {
            return None;
        }
        let ram: &'m GuestRam = memory;
        let next = match self.queue.iter(ram) {
            Ok(mut available) => available.next(),
            Err(_) => {
                self.give_up();
                None
            }
        };
        next.map(|descriptors| Chain::collect(descriptors, memory))
    }

    /// Makes the chain popped last available again.
    pub fn put_back(&mut self) {
        self.queue.go_to_previous_position();
    }

    /// Returns a chain to the driver, `written` bytes of its writable buffers being filled.
    pub fn complete(&mut self, memory: &DeviceMemory, head: u16, written: u32) {
        match self.queue.add_used(&**memory, head, written) {
            Ok(()) => self.unannounced = true,
            Err(_) => self.give_up(),
        }
    }

    /// Interrupts the driver if it asked to hear of what was completed since the last time.
    pub fn notify_driver(&mut self, memory: &DeviceMemory) {
        let unannounced = std::mem::take(&mut self.unannounced);
        if unannounced && !self.is_idle() && self.queue.needs_notification(&**memory).unwrap_or(true) {
            self.interrupt.used_buffer(self.index);
        }
    }

    /// While a device works through the ring it does not need to be told of more.
    pub fn suppress_kicks(&mut self, memory: &DeviceMemory) {
        if !self.is_idle() && self.queue.disable_notification(&**memory).is_err() {
            self.give_up();
        }
    }

    /// Asks for an event at the next available chain; true when one came in the meantime, without an event.
    pub fn expect_kicks(&mut self, memory: &DeviceMemory) -> bool {
        if self.is_idle() {
            return false;
        }
        self.queue.enable_notification(&**memory).unwrap_or_else(|_| {
            self.give_up();
            false
        })
    }

    /// Has the event loop call again, after the other devices' turn.
    pub fn continue_later(&self) {
        // The counter of an eventfd is at its limit after 2^64-2 writes; it is readable then too.
        let _ = self.kick.write(1);
    }

    /// The largest number of chains that the driver can have available at once.
    pub fn size(&self) -> u16 {
        self.queue.size()
    }

    /// Nothing more is to be read of it or written to it; as long as the device may not use the bus, for now.
    fn is_idle(&self) -> bool {
        self.broken || self.stopped.load(Ordering::Acquire) || !self.interrupt.may_use_bus()
    }

    fn give_up(&mut self) {
        self.broken = true;
        self.interrupt.needs_reset();
    }
}

#[cfg(test)]
#[path = "ring_test.rs"]
mod tests;
