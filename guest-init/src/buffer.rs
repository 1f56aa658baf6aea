//! The bytes between a lane's source and its sink.

/// What a buffer holds at most, in bytes: what a pipe holds too.
const CAPACITY: usize = 64 * 1024;

/// Below this much room, a buffer asks to be emptied first. A record of /dev/kmsg is at most this
/// long, and a read with less room for it fails.
const LEAST_ROOM: usize = 8 * 1024;

/// A queue of bytes in one piece. It takes memory with the first room that is asked of it, and is
/// cleared never but then: zeroing 64 KiB for each short read would cost more than the read.
#[derive(Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// What has been put in and not been taken out.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether it is worth reading more.
    pub fn has_room(&self) -> bool {
        CAPACITY - (self.end - self.start) >= LEAST_ROOM
    }

    /// Where more can be put: at least what [`Buffer::has_room`] promised.
    pub fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = vec![0; CAPACITY];
        }
        if CAPACITY - self.end < LEAST_ROOM {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.bytes[self.end..]
    }

    /// The first `count` bytes of the room are pending now.
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// The first `count` pending bytes are gone.
    pub fn taken(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Forgets everything, and gives the memory back.
    pub fn discard(&mut self) {
        *self = Buffer::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_through_many_rounds() {
        let (mut buffer, mut next_in, mut next_out) = (Buffer::default(), 0u8, 0u8);
        for round in 0..10_000 {
            if buffer.has_room() {
                let room = buffer.room();
                assert!(room.len() >= LEAST_ROOM);
                let count = room.len().min(1 + round * 7 % 20_000);
                for byte in &mut room[..count] {
                    *byte = next_in;
                    next_in = next_in.wrapping_add(1);
                }
                buffer.filled(count);
            }
            let count = buffer.pending().len().min(1 + round * 13 % 15_000);
            for byte in &buffer.pending()[..count] {
                assert_eq!(*byte, next_out);
                next_out = next_out.wrapping_add(1);
            }
            buffer.taken(count);
        }
        assert_ne!(next_out, 0);
    }
}
