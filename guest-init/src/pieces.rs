//! The pieces that a stream is cut into on a virtio-serial port (see [`guest_protocol::port`]), read
//! as they come.

use guest_protocol::port::MAX_PIECE;

/// Length of a piece's header in bytes.
pub const HEADER: usize = 4;

/// The header of a piece of `length` bytes; of none, the stream's end.
pub fn header(length: usize) -> [u8; HEADER] {
    (length as u32).to_le_bytes()
}

/// How far the reading of pieces has come.
#[derive(Default)]
pub struct Decoder {
    header: Vec<u8>,
    /// What is still to come of the current piece, in bytes.
    left: usize,
    ended: bool,
}

impl Decoder {
    /// Moves what `received` carries of the stream to its front, and returns how many bytes that is.
    pub fn decode(&mut self, received: &mut [u8]) -> usize {
        let (mut at, mut length) = (0, 0);
        while at < received.len() && !self.ended {
            if self.left > 0 {
                let count = self.left.min(received.len() - at);
                received.copy_within(at..at + count, length);
                self.left -= count;
                length += count;
                at += count;
                continue;
            }
            self.header.push(received[at]);
            at += 1;
            if let [a, b, c, d] = *self.header {
                self.left = u32::from_le_bytes([a, b, c, d]) as usize;
                self.header.clear();
                // A length that cannot be is no stream of ours any more.
                self.ended = self.left == 0 || self.left > MAX_PIECE;
            }
        }
        length
    }

    /// Whether the piece that ends the stream has come.
    pub fn is_ended(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use guest_protocol::port;

    use super::*;

    #[test]
    fn pieces_become_the_stream_however_they_are_cut() {
        let sent: Vec<u8> = (0..200_000u32).map(|index| index as u8).collect();
        let mut wire = Vec::new();
        port::write(&mut wire, &sent).unwrap();
        port::end(&mut wire).unwrap();
        for cut in [1, 3, 4096, wire.len()] {
            let (mut decoder, mut stream) = (Decoder::default(), Vec::new());
            for received in wire.clone().chunks_mut(cut) {
                assert!(!decoder.is_ended());
                let length = decoder.decode(received);
                stream.extend_from_slice(&received[..length]);
            }
            assert!(decoder.is_ended());
            assert!(stream == sent);
        }
    }

    #[test]
    fn a_length_that_cannot_be_ends_the_stream() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(&mut [0xff; 64]), 0);
        assert!(decoder.is_ended());
    }
}
