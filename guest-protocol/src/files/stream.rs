//! A stream of [`Item`]s and files' bytes: written and read with a count of what belongs to which.

use std::io::{self, BufReader, BufWriter, Read, Write};

use super::{Entry, EntryError, Item, MAX_MESSAGE, Request};
use crate::frame;

/// How much is written or read at a time, in bytes.
const BUFFER: usize = 64 << 10;

/// Why a stream cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error(transparent)]
    Frame(#[from] frame::Error),
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A file has more or fewer bytes than its entry says.
    #[error("a file's bytes are not as many as were announced")]
    Count,
}

impl StreamError {
    /// The failed system call, if it is one: of reading or writing the stream.
    pub fn as_io(&self) -> Option<&io::Error> {
        match self {
            StreamError::Frame(frame::Error::Io(error)) => Some(error),
            _ => None,
        }
    }
}

/// The side that sends items.
pub struct ItemWriter<W: Write> {
    to: BufWriter<W>,
    /// Bytes that the last entry's file still has to have.
    left: u64,
    total: u64,
}

impl<W: Write> ItemWriter<W> {
    pub fn new(to: W) -> ItemWriter<W> {
        ItemWriter { to: BufWriter::with_capacity(BUFFER, to), left: 0, total: 0 }
    }

    /// What it writes to.
    pub fn target(&self) -> &W {
        self.to.get_ref()
    }

    /// Sends what stands before all items.
    pub fn request(&mut self, request: &Request) -> Result<(), StreamError> {
        frame::write(&mut self.to, request)?;
        self.flush()
    }

    /// Sends an item. Before the next one come the bytes of the file, if it is one.
    pub fn item(&mut self, item: &Item) -> Result<(), StreamError> {
        if self.left > 0 {
            return Err(StreamError::Count);
        }
        frame::write(&mut self.to, item)?;
        if let Item::Entry(entry) = item {
            self.left = entry.size();
            self.total = self.total.saturating_add(self.left);
        }
        Ok(())
    }

    /// How many bytes all files have that were announced.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Sends a message that fits, and is text.
    pub fn warning(&mut self, text: &str) -> Result<(), StreamError> {
        self.item(&Item::Warning(fitting(text)))
    }

    /// Sends the last item, and everything that has not gone yet. Where a file's bytes are missing, the
    /// stream cannot say more: it ends there, and that is what the other side takes it for.
    pub fn end(&mut self, outcome: Result<(), &str>) -> Result<(), StreamError> {
        self.item(&outcome.map_or_else(|error| Item::Failed(fitting(error)), |()| Item::Done))?;
        self.flush()
    }

    /// Sends bytes of the file.
    pub fn data(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        let left = self.left.checked_sub(bytes.len() as u64).ok_or(StreamError::Count)?;
        self.to.write_all(bytes).map_err(frame::Error::from)?;
        self.left = left;
        Ok(())
    }

    /// How many bytes the file still has to have.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Makes up for missing bytes of the file with zeroes.
    pub fn pad(&mut self) -> Result<(), StreamError> {
        let zeroes = [0; 4096];
        while self.left > 0 {
            let length = self.left.min(zeroes.len() as u64) as usize;
            self.data(&zeroes[..length])?;
        }
        Ok(())
    }

    pub fn flush(&mut self) -> Result<(), StreamError> {
        Ok(self.to.flush().map_err(frame::Error::from)?)
    }
}

/// The first so many bytes of a text, whole characters.
fn fitting(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_MESSAGE)].to_owned()
}

/// The side that gets items.
pub struct ItemReader<R> {
    from: BufReader<R>,
    left: u64,
    total: u64,
}

impl<R: Read> ItemReader<R> {
    pub fn new(from: R) -> ItemReader<R> {
        ItemReader { from: BufReader::with_capacity(BUFFER, from), left: 0, total: 0 }
    }

    /// The next item, checked. What was not read of the last file is skipped.
    pub fn item(&mut self) -> Result<Item, StreamError> {
        while self.left > 0 {
            self.data(&mut [0; 4096])?;
        }
        let item = frame::read(&mut self.from)?;
        match &item {
            Item::Entry(entry) => {
                entry.check()?;
                self.left = entry.size();
                self.total = self.total.saturating_add(self.left);
            }
            Item::Change(change) => super::check_path(&change.path).map_err(|problem| EntryError {
                name: String::from_utf8_lossy(&change.path).into_owned(),
                problem,
            })?,
            _ => {}
        }
        Ok(item)
    }

    /// The next entry; `None` when the stream has ended well. Warnings go to `warn`.
    pub fn entry(&mut self, warn: &mut dyn FnMut(String)) -> Result<Option<Entry>, Stopped> {
        loop {
            match self.item()? {
                Item::Entry(entry) => return Ok(Some(entry)),
                Item::Warning(text) => warn(text),
                Item::Done => return Ok(None),
                Item::Failed(message) => return Err(Stopped::Told(message)),
                Item::Change(_) | Item::Found(_) => return Err(Stopped::Order),
            }
        }
    }

    /// Reads bytes of the file; none at its end.
    pub fn data(&mut self, into: &mut [u8]) -> Result<usize, StreamError> {
        let length = self.left.min(into.len() as u64) as usize;
        if length == 0 {
            return Ok(0);
        }
        let count = loop {
            match self.from.read(&mut into[..length]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                count => break count.map_err(frame::Error::from)?,
            }
        };
        if count == 0 {
            return Err(frame::Error::from(io::Error::from(io::ErrorKind::UnexpectedEof)).into());
        }
        self.left -= count as u64;
        Ok(count)
    }

    /// How many bytes all files have that were announced.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many bytes of the file are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }
}

/// Why no more entries come.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// The other side says so.
    #[error("{0}")]
    Told(String),
    #[error("the other side answered what was not asked")]
    Order,
    #[error(transparent)]
    Stream(#[from] StreamError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Kind, Time};

    fn file(path: &str, size: u64) -> Item {
        let (modified, xattrs) = (Time::default(), Vec::new());
        let kind = Kind::File(size);
        Item::Entry(Entry { path: path.into(), kind, mode: 0o644, uid: 0, gid: 0, modified, xattrs })
    }

    fn written(write: impl FnOnce(&mut ItemWriter<&mut Vec<u8>>)) -> Vec<u8> {
        let mut wire = Vec::new();
        let mut writer = ItemWriter::new(&mut wire);
        write(&mut writer);
        writer.flush().unwrap();
        drop(writer);
        wire
    }

    #[test]
    fn bytes_belong_to_their_file() {
        let wire = written(|writer| {
            writer.item(&file("a", 3)).unwrap();
            writer.data(b"abc").unwrap();
            writer.item(&file("b", 10)).unwrap();
            writer.data(b"12").unwrap();
            writer.pad().unwrap();
            writer.warning(&"é".repeat(MAX_MESSAGE)).unwrap();
            writer.item(&file("c", 0)).unwrap();
            writer.end(Ok(())).unwrap();
        });
        let mut reader = ItemReader::new(wire.as_slice());
        let (mut warnings, mut buffer) = (Vec::new(), [1; 64]);
        let mut warn = |text| warnings.push(text);
        assert_eq!(reader.entry(&mut warn).unwrap().unwrap().path, b"a");
        assert_eq!(reader.data(&mut buffer).unwrap(), 3);
        assert_eq!(reader.data(&mut buffer).unwrap(), 0);
        assert_eq!(reader.entry(&mut warn).unwrap().unwrap().path, b"b");
        // The rest of b is skipped.
        assert_eq!(reader.data(&mut buffer[..3]).unwrap(), 3);
        assert_eq!(&buffer[..3], b"12\0");
        assert_eq!(reader.entry(&mut warn).unwrap().unwrap().path, b"c");
        assert!(reader.entry(&mut warn).unwrap().is_none());
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].len() <= MAX_MESSAGE);
    }

    #[test]
    fn a_stream_that_is_cut_is_never_whole() {
        let wire = written(|writer| {
            writer.item(&file("a", 3)).unwrap();
            writer.data(b"abc").unwrap();
            writer.end(Ok(())).unwrap();
        });
        for end in 0..wire.len() {
            let mut reader = ItemReader::new(&wire[..end]);
            let outcome = reader.entry(&mut drop).and_then(|_| reader.entry(&mut drop));
            assert!(outcome.is_err(), "cut at {end}");
        }
    }

    #[test]
    fn too_many_or_too_few_bytes_cannot_be_sent() {
        written(|writer| {
            writer.item(&file("a", 3)).unwrap();
            assert!(matches!(writer.end(Ok(())), Err(StreamError::Count)));
            assert!(matches!(writer.data(b"abcd"), Err(StreamError::Count)));
        });
    }

    #[test]
    fn what_the_other_side_says_went_wrong_is_told() {
        let wire = written(|writer| writer.end(Err("it burns")).unwrap());
        let error = ItemReader::new(wire.as_slice()).entry(&mut drop).unwrap_err();
        assert_eq!(error.to_string(), "it burns");
    }

    #[test]
    fn a_hostile_entry_does_not_get_in() {
        let wire = written(|writer| writer.item(&file("../etc", 0)).unwrap());
        let error = ItemReader::new(wire.as_slice()).entry(&mut drop).unwrap_err();
        assert!(error.to_string().contains("../etc"), "{error}");
        let error = ItemReader::new(&b"\xff\xff\xff\xff"[..]).entry(&mut drop).unwrap_err();
        assert!(matches!(error, Stopped::Stream(StreamError::Frame(frame::Error::TooLong(_)))));
    }
}
