//! What a cell's machine writes, into a file as it comes.
//!
//! The file is bounded: of a stream that is longer, its beginning and its end are there, and between them a line that says
//! how much is not. The machine's own log would not do: it has both streams, and only the last of them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::{self, JoinHandle};

use crate::machine::copy_output;

/// How much of a stream's beginning is kept, in bytes, and how much of its end.
const BEGINNING: u64 = 64 << 20;
const END: usize = 1 << 20;

/// A stream on its way into a file.
#[derive(Debug)]
pub struct Output {
    file: File,
    /// What may still be written of the beginning.
    room: u64,
    end: VecDeque<u8>,
    left_out: u64,
    /// What the file did not take; the machine is not told, it goes on.
    failed: Option<io::Error>,
}

impl Output {
    pub fn create(path: &Path) -> io::Result<Output> {
        let file = File::create(path)?;
        Ok(Output { file, room: BEGINNING, end: VecDeque::new(), left_out: 0, failed: None })
    }

    /// Takes all that comes over `stream`, in a thread, which says how many bytes are not in the file.
    pub fn follow(mut self, stream: UnixStream) -> JoinHandle<io::Result<u64>> {
        thread::spawn(move || {
            copy_output(stream, &mut self, |_| {})?;
            self.close()
        })
    }

    fn close(mut self) -> io::Result<u64> {
        if self.left_out > 0 {
            let line = format!("\n[vmrun: {} bytes are left out here]\n", self.left_out);
            self.put(line.as_bytes());
        }
        let end = mem::take(&mut self.end);
        let (first, second) = end.as_slices();
        self.put(first);
        self.put(second);
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.left_out),
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.file.write_all(bytes).err();
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = usize::try_from(self.room).unwrap_or(usize::MAX).min(bytes.len());
        let (beginning, rest) = bytes.split_at(fits);
        self.room -= fits as u64;
        self.put(beginning);
        self.end.extend(rest);
        let excess = self.end.len().saturating_sub(END);
        self.end.drain(..excess);
        self.left_out += excess as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Writes pieces with little room for a beginning; what is in the file, and how much is not.
    fn kept(room: u64, pieces: &[&[u8]]) -> (Vec<u8>, u64) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stdout");
        let mut output = Output { room, ..Output::create(&path).unwrap() };
        pieces.iter().for_each(|piece| output.write_all(piece).unwrap());
        let left_out = output.close().unwrap();
        (fs::read(path).unwrap(), left_out)
    }

    #[test]
    fn what_fits_is_kept_as_it_came() {
        assert_eq!(kept(4, &[b"ab", b"", b"cdef", b"g"]), (b"abcdefg".to_vec(), 0));
        let most = vec![7; END];
        assert_eq!(kept(2, &[b"ab", &most]), ([&b"ab"[..], &most].concat(), 0));
    }

    #[test]
    fn of_more_the_beginning_and_the_end_are_kept() {
        let (all, left_out) = kept(3, &[b"begin", &vec![b'.'; END], b"the end"]);
        assert_eq!(left_out, 2 + 7);
        let line = b"\n[vmrun: 9 bytes are left out here]\n";
        assert!(all.starts_with(b"beg") && all.ends_with(b"...the end") && all[3..].starts_with(line));
    }

    #[test]
    fn a_full_disk_does_not_stop_the_stream() {
        let mut output = Output::create(Path::new("/dev/full")).unwrap();
        assert!(output.write_all(b"first").and_then(|()| output.write_all(b"second")).is_ok());
        assert_eq!(output.close().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
