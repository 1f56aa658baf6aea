//! Readers that stop at a limit, and say so.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Passes on at most `limit` bytes; one more is an error that names what was read and the limit.
pub struct Bounded<R> {
    inner: R,
    what: &'static str,
    limit: u64,
    left: u64,
}

impl<R: Read> Bounded<R> {
    pub fn new(inner: R, limit: u64, what: &'static str) -> Bounded<R> {
        Bounded { inner, what, limit, left: limit }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            return match self.inner.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(too_large(self.what, self.limit)),
            };
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// A file's whole content, which is at most `limit` bytes.
pub fn read_whole(path: &Path, limit: u64, what: &'static str) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    Bounded::new(File::open(path)?, limit, what).read_to_end(&mut content)?;
    Ok(content)
}

/// The error for `what` exceeding `limit` bytes.
pub fn too_large(what: &str, limit: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("{what} exceeds the limit of {}", size(limit)))
}

/// `bytes` in the largest unit that divides it.
fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_is_allowed_and_one_more_is_not() {
        let mut bytes = Vec::new();
        Bounded::new(&[1; 16][..], 16, "it").read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [1; 16]);
        let error = Bounded::new(&[1; 17][..], 16, "it").read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "it exceeds the limit of 16 bytes");
    }
}
