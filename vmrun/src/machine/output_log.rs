//! What a machine's process wrote, kept for `vmrun logs`.
//!
//! A log is records one after another: the stream (1 standard output or terminal, 2 standard error), the time
//! (nanoseconds since 1970, `u64`), the length (`u32`), little-endian, and the bytes as they came. A log that has
//! grown to its limit becomes `output.log.1`, and the one before that goes.

use std::fs::{self, File};
use std::io::{self, BufReader, IoSlice, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A log and the one before it take at most twice this, in bytes.
const LIMIT: u64 = 64 << 20;

const HEADER: usize = 13;

/// The longest piece in a record, in bytes.
pub const MAX_PIECE: usize = 64 << 10;

/// Which stream a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    Stdout = 1,
    Stderr = 2,
}

/// Appends to a log. A disk that is full loses what does not fit, not the machine.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    file: Option<File>,
    length: u64,
}

/// One piece of output.
#[derive(Debug, PartialEq, Eq)]
pub struct LogRecord {
    pub stream: LogStream,
    /// Nanoseconds since 1970.
    pub time: u64,
    pub bytes: Vec<u8>,
}

impl LogWriter {
    pub fn open(path: PathBuf) -> LogWriter {
        let file = File::options().create(true).append(true).open(&path).ok();
        // What a crash of the host left behind the last whole record would make all later ones unreadable.
        let length = whole_records(&path).unwrap_or(0);
        let file = file.filter(|file| file.set_len(length).is_ok());
        LogWriter { path, file, length }
    }

    pub fn write(&mut self, stream: LogStream, bytes: &[u8]) {
        for piece in bytes.chunks(MAX_PIECE) {
            if self.length + piece.len() as u64 > LIMIT {
                self.turn_over();
            }
            let Some(file) = &mut self.file else { return };
            let mut header = [stream as u8; HEADER];
            header[1..9].copy_from_slice(&now().to_le_bytes());
            header[9..].copy_from_slice(&(piece.len() as u32).to_le_bytes());
            let whole = HEADER + piece.len();
            match file.write_vectored(&[IoSlice::new(&header), IoSlice::new(piece)]) {
                Ok(written) if written == whole => self.length += whole as u64,
                // Half a record would make all later ones unreadable.
                _ => drop(file.set_len(self.length)),
            }
        }
    }

    fn turn_over(&mut self) {
        let before = self.path.with_added_extension("1");
        if fs::rename(&self.path, before).is_ok() {
            *self = LogWriter::open(self.path.clone());
        }
    }
}

/// How many bytes of a log are whole records.
fn whole_records(path: &Path) -> io::Result<u64> {
    let mut file = BufReader::new(File::open(path)?);
    let end = file.get_ref().metadata()?.len();
    let (mut whole, mut header) = (0, [0; HEADER]);
    while file.read_exact(&mut header).is_ok() {
        let length = u32::from_le_bytes(std::array::from_fn(|at| header[9 + at]));
        let next = whole + HEADER as u64 + u64::from(length);
        if !(1..=2).contains(&header[0]) || length as usize > MAX_PIECE || next > end {
            break;
        }
        file.seek_relative(length.into())?;
        whole = next;
    }
    Ok(whole)
}

/// Reads a log from its beginning, with the part that was turned over before it.
pub struct LogReader {
    path: PathBuf,
    files: Vec<BufReader<File>>,
    /// What was read of a record that is not whole yet.
    partial: Vec<u8>,
}

impl LogReader {
    /// A log that is not there is an empty one.
    pub fn open(path: &Path) -> io::Result<LogReader> {
        let mut files = Vec::new();
        for path in [path.to_owned(), path.with_added_extension("1")] {
            match File::open(&path) {
                Ok(file) => files.push(BufReader::new(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(LogReader { path: path.to_owned(), files, partial: Vec::new() })
    }

    /// The next record; `None` at the end, where more may come later.
    pub fn next(&mut self) -> io::Result<Option<LogRecord>> {
        loop {
            match self.partial.len() {
                length if length < HEADER => {
                    if !self.fill(HEADER)? {
                        return Ok(None);
                    }
                }
                _ => {
                    let length = u32::from_le_bytes(std::array::from_fn(|at| self.partial[9 + at])) as usize;
                    if length > MAX_PIECE {
                        return Err(io::Error::new(io::ErrorKind::InvalidData, "the log is damaged"));
                    }
                    if !self.fill(HEADER + length)? {
                        return Ok(None);
                    }
                    let stream = if self.partial[0] == 2 { LogStream::Stderr } else { LogStream::Stdout };
                    let time = u64::from_le_bytes(std::array::from_fn(|at| self.partial[1 + at]));
                    let bytes = self.partial.split_off(HEADER);
                    self.partial.clear();
                    return Ok(Some(LogRecord { stream, time, bytes }));
                }
            }
        }
    }

    /// Reads until `partial` has `wanted` bytes; `false` when there are not so many yet.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        while self.partial.len() < wanted {
            let missing = (wanted - self.partial.len()) as u64;
            let Some(file) = self.files.last_mut() else { return Ok(false) };
            if file.take(missing).read_to_end(&mut self.partial)? == 0 {
                if self.files.len() > 1 {
                    self.files.pop();
                } else if !self.follow_turn()? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

impl LogReader {
    /// Goes on to the log that has taken the place of the one that was read, if one has. The writer has left the old one
    /// before: what could not be read of it yet is all there is.
    fn follow_turn(&mut self) -> io::Result<bool> {
        let (Some(read), Ok(next)) = (self.files.last(), File::open(&self.path)) else { return Ok(false) };
        let (read, new) = (read.get_ref().metadata()?, next.metadata()?);
        if (read.dev(), read.ino()) == (new.dev(), new.ino()) || !self.partial.is_empty() {
            return Ok(false);
        }
        self.files.insert(0, BufReader::new(next));
        Ok(true)
    }
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_across_a_turn() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("output.log");
        let mut writer = LogWriter::open(path.clone());
        writer.write(LogStream::Stdout, b"first");
        writer.turn_over();
        writer.write(LogStream::Stderr, &vec![b'x'; MAX_PIECE + 1]);
        let mut reader = LogReader::open(&path).unwrap();
        let first = reader.next().unwrap().unwrap();
        assert_eq!((first.stream, &*first.bytes), (LogStream::Stdout, &b"first"[..]));
        assert_eq!(reader.next().unwrap().unwrap().bytes.len(), MAX_PIECE);
        assert_eq!(reader.next().unwrap().unwrap().bytes, b"x");
        assert_eq!(reader.next().unwrap(), None);
        LogWriter::open(path).write(LogStream::Stdout, b"later");
        assert_eq!(reader.next().unwrap().unwrap().bytes, b"later");
    }

    #[test]
    fn a_follower_goes_on_where_the_log_is_turned_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("output.log");
        let mut writer = LogWriter::open(path.clone());
        writer.write(LogStream::Stdout, b"first");
        let mut reader = LogReader::open(&path).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().bytes, b"first");
        assert_eq!(reader.next().unwrap(), None);
        writer.write(LogStream::Stdout, b"last of the old");
        writer.turn_over();
        writer.write(LogStream::Stdout, b"second");
        assert_eq!(reader.next().unwrap().unwrap().bytes, b"last of the old");
        assert_eq!(reader.next().unwrap().unwrap().bytes, b"second");
        assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn half_a_record_is_dropped_before_more_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("output.log");
        LogWriter::open(path.clone()).write(LogStream::Stdout, b"whole");
        let torn = [&fs::read(&path).unwrap()[..], &[1; 9]].concat();
        fs::write(&path, torn).unwrap();
        LogWriter::open(path.clone()).write(LogStream::Stdout, b"next");
        let mut reader = LogReader::open(&path).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().bytes, b"whole");
        assert_eq!(reader.next().unwrap().unwrap().bytes, b"next");
    }

    #[test]
    fn a_damaged_log_is_an_error_and_not_a_long_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("output.log");
        fs::write(&path, [1; 64]).unwrap();
        assert!(LogReader::open(&path).unwrap().next().is_err());
    }
}
