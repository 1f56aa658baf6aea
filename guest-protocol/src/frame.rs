//! Frames: a little-endian `u32` length, then that many bytes of postcard.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest frame that is accepted, in bytes. The other side's word is not trusted further.
pub const MAX_FRAME: usize = 64 * 1024;

/// The largest frame that guest-init accepts from the host where one may be longer than
/// [`MAX_FRAME`]: a process with its arguments and environment.
pub const MAX_REQUEST: usize = 4 << 20;

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the stream ended")]
    Closed,
    #[error("a frame of {0} bytes, more than are allowed")]
    TooLong(usize),
    #[error("a frame that is not of this protocol: {0}")]
    Malformed(#[from] postcard::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Encodes `value` as postcard without a frame around it, as [`crate::CONFIG_PATH`] holds it.
pub fn encode(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    Ok(postcard::to_stdvec(value)?)
}

/// Decodes what [`encode`] made.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    Ok(postcard::from_bytes(bytes)?)
}

/// Writes `value` as one frame, in one write.
pub fn write(to: impl Write, value: &impl Serialize) -> Result<(), Error> {
    write_within(MAX_FRAME, to, value)
}

/// As [`write`], for the few frames that have another limit than [`MAX_FRAME`].
pub fn write_within(limit: usize, mut to: impl Write, value: &impl Serialize) -> Result<(), Error> {
    let mut bytes = vec![0; 4];
    bytes = postcard::to_extend(value, bytes)?;
    let length = bytes.len() - 4;
    if length > limit {
        return Err(Error::TooLong(length));
    }
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(to.write_all(&bytes)?)
}

/// An answer as one frame; one that is too long for that says so instead.
pub fn answer<T: Serialize>(answer: &Result<T, String>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if write(&mut bytes, answer).is_err() {
        bytes.clear();
        let _ = write(&mut bytes, &Err::<T, _>(String::from("the answer is too long")));
    }
    bytes
}

/// Reads one frame; [`Error::Closed`] when the stream ends before it begins.
pub fn read<T: DeserializeOwned>(mut from: impl Read) -> Result<T, Error> {
    let mut length = [0; 4];
    let mut filled = 0;
    while filled < length.len() {
        match from.read(&mut length[filled..]) {
            Ok(0) if filled == 0 => return Err(Error::Closed),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(Error::TooLong(length));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    decode(&bytes)
}

/// Takes the first frame out of `received`, bytes that came from a stream that is read without
/// waiting; `None` while the frame is not whole.
pub fn take<T: DeserializeOwned>(received: &mut Vec<u8>) -> Result<Option<T>, Error> {
    take_within(MAX_FRAME, received)
}

/// As [`take`], for the few frames that have another limit than [`MAX_FRAME`].
pub fn take_within<T: DeserializeOwned>(limit: usize, received: &mut Vec<u8>) -> Result<Option<T>, Error> {
    let Some((length, rest)) = received.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length > limit {
        return Err(Error::TooLong(length));
    }
    let Some(bytes) = rest.get(..length) else { return Ok(None) };
    let value = decode(bytes)?;
    received.drain(..4 + length);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ExitStatus, GuestMessage, HostMessage, WindowSize};

    #[test]
    fn frames_follow_one_another() {
        let mut bytes = Vec::new();
        let resize = HostMessage::Resize(WindowSize { rows: 24, columns: 80 });
        write(&mut bytes, &resize).unwrap();
        write(&mut bytes, &HostMessage::Close).unwrap();
        let mut from = bytes.as_slice();
        assert_eq!(read::<HostMessage>(&mut from).unwrap(), resize);
        assert_eq!(read::<HostMessage>(&mut from).unwrap(), HostMessage::Close);
        assert!(matches!(read::<HostMessage>(&mut from), Err(Error::Closed)));
    }

    #[test]
    fn a_length_is_not_believed() {
        let bytes = u32::MAX.to_le_bytes();
        assert!(matches!(read::<HostMessage>(&bytes[..]), Err(Error::TooLong(_))));
    }

    #[test]
    fn frames_are_taken_when_they_are_whole() {
        let mut wire = Vec::new();
        write(&mut wire, &HostMessage::Signal(15)).unwrap();
        write(&mut wire, &HostMessage::Close).unwrap();
        let (mut received, mut taken) = (Vec::new(), Vec::new());
        for byte in wire {
            received.push(byte);
            taken.extend(take::<HostMessage>(&mut received).unwrap());
        }
        assert_eq!(taken, [HostMessage::Signal(15), HostMessage::Close]);
        assert!(received.is_empty());
        assert!(matches!(take::<HostMessage>(&mut vec![0xff; 4]), Err(Error::TooLong(_))));
    }

    #[test]
    fn a_cut_frame_is_an_error() {
        let mut bytes = Vec::new();
        write(&mut bytes, &GuestMessage::Exited(ExitStatus::Code(42))).unwrap();
        for end in 1..bytes.len() {
            assert!(matches!(read::<GuestMessage>(&bytes[..end]), Err(Error::Io(_))), "cut at {end}");
        }
    }
}
