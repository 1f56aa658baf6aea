//! Stamps of a guest that may write to no port: lines of its kernel's log.

use guest_protocol::STAMP_LINE;

/// What precedes such a line, at most: the kernel's time, and who printed it.
const LONGEST_PREFIX: usize = 64;

/// Finds stamps in the bytes of a serial port.
#[derive(Debug, Default)]
pub struct StampLines {
    /// As much of the line that has begun as can be one.
    line: Vec<u8>,
    too_long: bool,
}

impl StampLines {
    /// The stamps whose lines end in `bytes`. A guest can write such lines whenever it likes, as it can
    /// write to the port.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut found = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                found.extend(stamp(&self.line).filter(|_| !self.too_long));
                self.line.clear();
                self.too_long = false;
            } else if self.line.len() < LONGEST_PREFIX + STAMP_LINE.len() {
                self.line.push(*byte);
            } else {
                self.too_long = true;
            }
        }
        found
    }
}

/// `[    1.234567] vmrun: stamp 4`, or the same without a time.
fn stamp(line: &[u8]) -> Option<u8> {
    let line = std::str::from_utf8(line).ok()?.trim_end_matches('\r');
    let (prefix, number) = line.split_once(STAMP_LINE)?;
    let is_kernels = prefix.is_empty() || (prefix.starts_with('[') && prefix.ends_with("] "));
    number.parse().ok().filter(|_| is_kernels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_found_however_the_bytes_come() {
        let log = b"[    0.1] Linux\r\n[    1.234567] vmrun: stamp 1\r\n[    2.0][    T1] vmrun: stamp 4\r\n\
            vmrun: stamp 5\n";
        let mut lines = StampLines::default();
        assert_eq!(lines.read(log), [1, 4, 5]);
        let one_by_one: Vec<u8> = log.iter().flat_map(|byte| lines.read(&[*byte])).collect();
        assert_eq!(one_by_one, [1, 4, 5]);
    }

    #[test]
    fn what_only_resembles_one_is_none() {
        let log = b"vmrun: stamp 4[17]: segfault\nx vmrun: stamp 4\n[ 1.0] vmrun: stamp \n[ 1.0] vmrun: stamp 400\n\
            \xff] vmrun: stamp 4\n";
        assert_eq!(StampLines::default().read(log), [0; 0]);
        let mut lines = StampLines::default();
        let long = [&[b'['; 100_000][..], b"] vmrun: stamp 4\nvmrun: stamp 4"].concat();
        assert_eq!(lines.read(&long), [0; 0]);
        assert!(lines.line.len() < 100);
        assert_eq!(lines.read(b"\n"), [4]);
    }
}
