//! Reading tar archives as they come: POSIX ustar and PAX, GNU, star and V7.
//!
//! The archive is hostile. Whatever a header claims is checked here, once; nothing that it claims decides
//! how much memory is taken, beyond [`MAX_SPECIAL`] bytes.

mod header;
mod number;
mod pax;
mod source;
mod sparse;

pub use sparse::Extent;

use super::{Time, name::Name};
use header::{Header, until_nul};
use pax::PaxRecords;
use source::{BLOCK, Source};
use std::io::{self, BufRead};

/// A long name or a PAX header may have this many bytes, as Go's reader allows.
const MAX_SPECIAL: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    HardLink,
    Symlink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

/// One entry's header. Names are as the archive has them.
#[derive(Debug)]
pub struct Entry {
    pub path: Vec<u8>,
    pub kind: Kind,
    /// Target of a symbolic or hard link.
    pub link: Vec<u8>,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    /// Sorted by name, which comes once.
    pub xattrs: Vec<Xattr>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// The file's size in bytes, holes included.
    pub size: u64,
    /// What of a sparse file the archive holds.
    pub sparse: Option<Vec<Extent>>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading the layer's tar stream: {0}")]
    Read(#[source] io::Error),
    #[error("tar entry `{name}`: {problem}")]
    Entry { name: String, problem: Problem },
    #[error("no tar archive: its first header has a bad checksum")]
    NoTar,
}

/// What can be wrong with a tar entry.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("the archive ends in the middle of it")]
    Truncated,
    #[error("its header has a bad checksum")]
    Checksum,
    #[error("its {field} is not a number or out of range")]
    Number { field: &'static str },
    #[error("its size is negative")]
    NegativeSize,
    #[error("its name or link target holds a NUL")]
    NulInName,
    #[error("its PAX header is malformed")]
    PaxRecord,
    #[error("its {0} has {1} bytes, over the limit of {MAX_SPECIAL}")]
    SpecialSize(&'static str, u64),
    #[error("its sparse map is malformed")]
    SparseMap,
    #[error("unknown entry type {:?}", char::from(*.0))]
    UnknownType(u8),
}

/// A tar archive from a stream. After [`TarReader::next_entry`], the entry's content is had by
/// [`TarReader::content`] and [`TarReader::consume`]; what is not taken is skipped.
pub struct TarReader<R> {
    source: Source<R>,
    /// Bytes of the entry's content that are not taken yet, and of the padding behind it.
    content: u64,
    padding: u64,
}

/// What the headers before an entry's own say about it.
#[derive(Default)]
struct Preface {
    pax: PaxRecords,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: BufRead> TarReader<R> {
    pub fn new(stream: R) -> TarReader<R> {
        TarReader { source: Source::new(stream), content: 0, padding: 0 }
    }

    /// The next entry, or `None` when the archive is over; the stream is then read to its end.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        let mut block = [0; BLOCK];
        let mut preface = Preface::default();
        let mut prefaced = false;
        loop {
            let begins = self.source.position() == 0;
            let entry = self.next_header(&mut block, &mut preface);
            match entry {
                Ok(Next::Entry(entry)) => return Ok(Some(entry)),
                Ok(Next::More) => prefaced = true,
                Ok(Next::End) if prefaced => {
                    return Err(Error::Entry { name: "(the last)".into(), problem: Problem::Truncated });
                }
                Ok(Next::End) => {
                    self.source.drain().map_err(Error::Read)?;
                    return Ok(None);
                }
                Err(Problem::Read(error)) => return Err(Error::Read(error)),
                Err(Problem::Checksum) if begins => return Err(Error::NoTar),
                Err(problem) => {
                    let name = preface.pax.path.as_deref().or(preface.long_name.as_deref());
                    let name = name.unwrap_or(Header::supposed_name(&block));
                    return Err(Error::Entry { name: Name(name).to_string(), problem });
                }
            }
        }
    }

    fn next_header(&mut self, block: &mut [u8; BLOCK], preface: &mut Preface) -> Result<Next, Problem> {
        self.source.skip(std::mem::take(&mut self.content))?;
        // `umoci insert` ends its layers right behind the last file's content, and Go's reader accepts that.
        match self.source.skip(std::mem::take(&mut self.padding)) {
            Err(Problem::Truncated) => return Ok(Next::End),
            skipped => skipped?,
        }
        match self.source.read(block)? {
            0 => return Ok(Next::End),
            BLOCK => {}
            _ => return Err(Problem::Truncated),
        }
        let Some(header) = Header::parse(block)? else {
            // A lone zero block ends the archive too, as GNU tar has it.
            return Ok(Next::End);
        };
        let size = header.size();
        match header.type_flag {
            b'x' | b'X' => {
                let records = self.special("PAX header", size?)?;
                // Of several, the last one counts: so memory for one is enough.
                preface.pax = PaxRecords::default();
                preface.pax.apply(&records)?;
            }
            // Global records are comments in practice; container tools ignore them, and so do we.
            b'g' => drop(self.special("PAX header", size?)?),
            b'L' => preface.long_name = Some(self.special_name(size?)?),
            b'K' => preface.long_link = Some(self.special_name(size?)?),
            // GNU's volume label: not a file.
            b'V' => self.set_content(size?),
            _ => return self.entry(block, header, std::mem::take(preface)).map(Next::Entry),
        }
        Ok(Next::More)
    }

    fn entry(&mut self, block: &[u8; BLOCK], header: &Header, preface: Preface) -> Result<Entry, Problem> {
        let Preface { mut pax, long_name, long_link } = preface;
        let xattrs = pax.take_xattrs();
        let mut path = Vec::new();
        match pax.sparse.name.take().or(pax.path).or(long_name) {
            Some(name) => path = name,
            None => header.name(&mut path),
        }
        let kind = header.kind(&path)?;
        let link = pax.link_path.or(long_link).unwrap_or_else(|| header.link_name().to_vec());
        let mtime = match pax.mtime {
            Some(time) => time,
            None => Time { seconds: header.mtime()?, nanoseconds: 0 },
        };
        let device = match kind {
            Kind::CharacterDevice | Kind::BlockDevice => header.device()?,
            _ => (0, 0),
        };
        let mut entry = Entry {
            path,
            kind,
            link,
            mode: header.mode()?,
            uid: pax.uid.map_or_else(|| header.uid(), Ok)?,
            gid: pax.gid.map_or_else(|| header.gid(), Ok)?,
            mtime,
            xattrs,
            device,
            size: 0,
            sparse: None,
        };
        // Other kinds have no content, whatever their size field says.
        if kind == Kind::File {
            let stored = pax.size.map_or_else(|| header.size(), Ok)?;
            self.set_content(stored);
            let sparse = match header.type_flag {
                b'S' => Some(sparse::read_old_gnu(block, &mut self.source, stored)?),
                _ => pax.sparse.finish(&mut self.source, &mut self.content)?,
            };
            entry.size = sparse.as_ref().map_or(stored, |&(size, _)| size);
            entry.sparse = sparse.map(|(_, extents)| extents);
        }
        Ok(entry)
    }

    fn set_content(&mut self, size: u64) {
        self.content = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn special(&mut self, what: &'static str, size: u64) -> Result<Vec<u8>, Problem> {
        if size > MAX_SPECIAL {
            return Err(Problem::SpecialSize(what, size));
        }
        let mut content = vec![0; size as usize];
        self.source.read_exact(&mut content)?;
        self.source.skip(size.wrapping_neg() % BLOCK as u64)?;
        Ok(content)
    }

    fn special_name(&mut self, size: u64) -> Result<Vec<u8>, Problem> {
        let content = self.special("name", size)?;
        Ok(until_nul(&content).to_vec())
    }

    /// Bytes of the entry's content that the archive holds and that are not taken yet.
    pub fn remaining(&self) -> u64 {
        self.content
    }

    /// The next bytes of the entry's content, as many as can be had without a copy; empty only when there
    /// are none left.
    pub fn content(&mut self) -> Result<&[u8], Problem> {
        if self.content == 0 {
            return Ok(&[]);
        }
        let limit = usize::try_from(self.content).unwrap_or(usize::MAX);
        let chunk = self.source.chunk()?;
        if chunk.is_empty() {
            return Err(Problem::Truncated);
        }
        Ok(&chunk[..chunk.len().min(limit)])
    }

    /// Takes `bytes` of what [`TarReader::content`] gave.
    pub fn consume(&mut self, bytes: usize) {
        debug_assert!(bytes as u64 <= self.content);
        self.source.consume(bytes);
        self.content -= bytes as u64;
    }
}

enum Next {
    Entry(Entry),
    /// A header that speaks of the entry behind it.
    More,
    End,
}
