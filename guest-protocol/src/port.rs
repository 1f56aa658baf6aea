//! The streams of an emulated host, over virtio-serial ports.
//!
//! A port is named after what it carries ([`CONTROL`], [`STDIN`], …; the guest finds it by
//! `/sys/class/virtio-ports/*/name`). The control port carries the frames of the control stream,
//! without a greeting. The others carry a stream's bytes in *pieces*, since neither side sees the
//! other close a port: a little-endian `u32` length, then that many bytes; a piece of no bytes
//! ends the stream in that direction.

use std::io::{self, Read, Write};

/// Port names.
pub const CONTROL: &str = "control";
pub const STDIN: &str = "stdin";
pub const STDOUT: &str = "stdout";
pub const STDERR: &str = "stderr";
pub const TERMINAL: &str = "terminal";

/// The longest piece, in bytes.
pub const MAX_PIECE: usize = 64 * 1024;

/// Writes `bytes` as pieces; an empty slice writes nothing.
pub fn write(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    for piece in bytes.chunks(MAX_PIECE) {
        to.write_all(&(piece.len() as u32).to_le_bytes())?;
        to.write_all(piece)?;
    }
    Ok(())
}

/// Ends the stream.
pub fn end(mut to: impl Write) -> io::Result<()> {
    to.write_all(&0_u32.to_le_bytes())
}

/// Reads the next piece into `piece`, whose former content is lost; `false` at the stream's end.
pub fn read(mut from: impl Read, piece: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_PIECE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a piece of {length} bytes")));
    }
    piece.resize(length, 0);
    from.read_exact(piece)?;
    Ok(length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_up_the_stream() {
        let sent: Vec<u8> = (0..3 * MAX_PIECE + 1).map(|index| index as u8).collect();
        let mut wire = Vec::new();
        write(&mut wire, &sent).unwrap();
        end(&mut wire).unwrap();
        let (mut from, mut piece, mut received) = (wire.as_slice(), Vec::new(), Vec::new());
        while read(&mut from, &mut piece).unwrap() {
            received.extend_from_slice(&piece);
        }
        assert_eq!(received, sent);
    }

    #[test]
    fn a_length_is_not_believed() {
        assert!(read(&u32::MAX.to_le_bytes()[..], &mut Vec::new()).is_err());
    }
}
