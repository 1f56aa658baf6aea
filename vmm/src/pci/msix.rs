//! MSI-X (PCI Local Bus Specification 3.0, section 6.8.2): a device interrupts its driver by messages, one for each
//! vector, and the driver says what they are and which of them it does not want to hear now.
//!
//! A message is sent to KVM when it is due (KVM_SIGNAL_MSI). The other way, an irqfd and a route for each vector, saves
//! nothing here, as both are one system call, and would let the guest make the host wait at each change of its table,
//! for all readers of the machine's routes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of an entry of the table.
pub const ENTRY: usize = 16;
/// A register that has this value stands for no vector (virtio 1.2, section 4.1.4.3).
pub const NO_VECTOR: u16 = 0xffff;

/// Bit 0 of an entry's last word.
const MASKED: u8 = 1;
const CONTROL: usize = 12;

/// Whoever brings messages to the guest's processors.
pub trait MessageSink: Send + Sync {
    /// Brings `data` to `address`. Where nobody listens there, nothing happens.
    fn send(&self, address: u64, data: u32);
}

/// The vectors of one device. Shared between its transport, where the driver sets them up, and the device.
pub struct Msix {
    sink: Arc<dyn MessageSink>,
    state: Mutex<State>,
}

struct State {
    enabled: bool,
    /// The whole function is masked.
    masked: bool,
    table: Vec<[u8; ENTRY]>,
    pending: Vec<bool>,
    for_configuration: u16,
    for_queues: Vec<u16>,
}

impl Msix {
    /// For a device of so many queues: a vector for each, and one for changes of the configuration.
    pub fn new(queues: usize, sink: Arc<dyn MessageSink>) -> Self {
        let mut masked = [0; ENTRY];
        masked[CONTROL] = MASKED;
        let state = State {
            enabled: false,
            masked: false,
            table: vec![masked; queues + 1],
            pending: vec![false; queues + 1],
            for_configuration: NO_VECTOR,
            for_queues: vec![NO_VECTOR; queues],
        };
        Self { sink, state: Mutex::new(state) }
    }

    /// How many there are.
    pub fn vectors(&self) -> usize {
        self.lock().table.len()
    }

    /// The capability's Message Control register was written to. A device that may not use the bus is masked.
    pub fn control(&self, enabled: bool, masked: bool) {
        let mut state = self.lock();
        (state.enabled, state.masked) = (enabled, masked);
        self.send_pending(&mut state);
    }

    /// A read at `offset` in the table; zeroes past its end.
    pub fn read_table(&self, offset: usize, data: &mut [u8]) {
        data.fill(0);
        let state = self.lock();
        let bytes = state.table.as_flattened().iter().skip(offset);
        data.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    }

    /// A write at `offset` in the table.
    pub fn write_table(&self, offset: usize, data: &[u8]) {
        let mut state = self.lock();
        let bytes = state.table.as_flattened_mut().iter_mut().skip(offset);
        bytes.zip(data).for_each(|(to, from)| *to = *from);
        self.send_pending(&mut state);
    }

    /// A read at `offset` in the array of pending bits; zeroes past its end.
    pub fn read_pending(&self, offset: usize, data: &mut [u8]) {
        let state = self.lock();
        for (byte, at) in data.iter_mut().zip(offset..) {
            let bits = state.pending.iter().skip(at.saturating_mul(8)).take(8);
            *byte = bits.enumerate().map(|(bit, pending)| u8::from(*pending) << bit).sum();
        }
    }

    pub fn configuration_vector(&self) -> u16 {
        self.lock().for_configuration
    }

    /// Reads as [`NO_VECTOR`] afterwards, if there is no such vector: thus the driver learns of it.
    pub fn set_configuration_vector(&self, vector: u16) {
        let mut state = self.lock();
        state.for_configuration = state.existing(vector);
    }

    pub fn queue_vector(&self, queue: usize) -> u16 {
        self.lock().for_queues.get(queue).copied().unwrap_or(NO_VECTOR)
    }

    /// As [`set_configuration_vector`](Self::set_configuration_vector).
    pub fn set_queue_vector(&self, queue: usize, vector: u16) {
        let mut state = self.lock();
        let vector = state.existing(vector);
        if let Some(queue) = state.for_queues.get_mut(queue) {
            *queue = vector;
        }
    }

    /// The device was reset: it has no vectors until the driver gives it some. The table is the bus's and stays.
    pub fn forget_vectors(&self) {
        let mut state = self.lock();
        state.for_configuration = NO_VECTOR;
        state.for_queues.fill(NO_VECTOR);
        state.pending.fill(false);
    }

    pub fn raise_for_configuration(&self) {
        let mut state = self.lock();
        let vector = state.for_configuration;
        self.raise(&mut state, vector);
    }

    pub fn raise_for_queue(&self, queue: usize) {
        let mut state = self.lock();
        let vector = state.for_queues.get(queue).copied().unwrap_or(NO_VECTOR);
        self.raise(&mut state, vector);
    }

    /// Sends the message, or notes it down while it is masked.
    fn raise(&self, state: &mut State, vector: u16) {
        if !state.enabled {
            return;
        }
        if let Some(pending) = state.pending.get_mut(usize::from(vector)) {
            *pending = true;
            self.send_pending(state);
        }
    }

    fn send_pending(&self, state: &mut State) {
        if !state.enabled || state.masked {
            return;
        }
        for (pending, entry) in state.pending.iter_mut().zip(&state.table) {
            if *pending && entry[CONTROL] & MASKED == 0 {
                *pending = false;
                let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = *entry;
                self.sink
                    .send(u64::from_le_bytes([a, b, c, d, e, f, g, h]), u32::from_le_bytes([i, j, k, l]));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn existing(&self, vector: u16) -> u16 {
        if usize::from(vector) < self.table.len() { vector } else { NO_VECTOR }
    }
}
