//! A frame: a little-endian `u32` channel, a byte that says what it is, a little-endian `u32`
//! length, and that many bytes.

use anyhow::{Result, bail};

/// The longest content of a frame, in bytes.
pub const MAX_CONTENT: usize = 32 << 10;

const HEADER: usize = 9;

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A new channel; the content is what is asked for.
    Open = 1,
    /// Bytes of the stream.
    Data = 2,
    /// The sender may send that many bytes more (a little-endian `u32`).
    Credit = 3,
    /// No more data will come.
    End = 4,
    /// No more data will be taken.
    Stop = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Open,
            2 => Kind::Data,
            3 => Kind::Credit,
            4 => Kind::End,
            5 => Kind::Stop,
            _ => return None,
        })
    }
}

/// Appends a frame to `output`.
pub fn write(output: &mut Vec<u8>, channel: u32, kind: Kind, content: &[u8]) {
    debug_assert!(content.len() <= MAX_CONTENT);
    output.extend_from_slice(&channel.to_le_bytes());
    output.push(kind as u8);
    output.extend_from_slice(&(content.len() as u32).to_le_bytes());
    output.extend_from_slice(content);
}

/// A frame as it came.
#[derive(Debug)]
pub struct Frame<'a> {
    pub channel: u32,
    pub kind: Kind,
    pub content: &'a [u8],
}

/// The first frame of `input`, and what follows it; `None` while it is not whole.
pub fn split(input: &[u8]) -> Result<Option<(Frame<'_>, &[u8])>> {
    let Some((header, rest)) = input.split_first_chunk::<HEADER>() else { return Ok(None) };
    let [c0, c1, c2, c3, kind, l0, l1, l2, l3] = *header;
    let Some(kind) = Kind::from_byte(kind) else { bail!("a frame of kind {kind}") };
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > MAX_CONTENT {
        bail!("a frame of {length} bytes");
    }
    let Some((content, rest)) = rest.split_at_checked(length) else { return Ok(None) };
    let channel = u32::from_le_bytes([c0, c1, c2, c3]);
    Ok(Some((Frame { channel, kind, content }, rest)))
}
