//! The one pass over a layer.

use super::data::DataFile;
use super::dropped::Dropped;
use super::name::{Meaning, Name, clean, meaning};
use super::small::{SmallFile, SmallFiles, is_small};
use super::table::{Body, Place, TableWriter};
use super::tar::{self, Entry, Extent, Kind, TarReader, Xattr};
use super::{Attributes, Error, FileType, LayerSummary, Limits};
use crate::erofs::inode::device_number;
use crate::erofs::xattr;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead};

/// More warnings than this are only counted.
const MAX_WARNINGS: usize = 50;

pub struct Builder<'a, R> {
    tar: TarReader<R>,
    data: DataFile,
    small: SmallFiles,
    table: TableWriter,
    limits: &'a Limits,
    dropped: Dropped,
    hole_bytes: u64,
    /// The content of the small file at hand.
    content: Vec<u8>,
    warnings: Vec<String>,
    more_warnings: u64,
}

impl<'a, R: BufRead> Builder<'a, R> {
    pub fn new(tar: R, data: File, entries: File, limits: &'a Limits) -> Result<Builder<'a, R>, Error> {
        Ok(Builder {
            tar: TarReader::new(tar),
            data: DataFile::new(data, limits.data_bytes),
            small: SmallFiles::default(),
            table: TableWriter::new(entries).map_err(table_error)?,
            limits,
            dropped: Dropped::default(),
            hole_bytes: 0,
            content: Vec::new(),
            warnings: Vec::new(),
            more_warnings: 0,
        })
    }

    pub fn run(mut self) -> Result<LayerSummary, Error> {
        let mut path = Vec::new();
        while let Some(entry) = self.tar.next_entry()? {
            if self.table.entries() + self.dropped.len() >= self.limits.entries {
                return Err(Error::TooManyEntries { limit: self.limits.entries });
            }
            self.entry(entry, &mut path)?;
        }
        let inode_blocks = self.small.finish(&mut self.data)?;
        let (data_bytes, data_digest) = self.data.finish()?;
        let entries = self.table.entries();
        self.table.finish(&inode_blocks, data_bytes, data_digest).map_err(table_error)?;
        if self.more_warnings > 0 {
            self.warnings.push(format!("{} more warnings", self.more_warnings));
        }
        Ok(LayerSummary { data_bytes, entries, data_digest, warnings: self.warnings })
    }

    fn entry(&mut self, mut entry: Entry, path: &mut Vec<u8>) -> Result<(), Error> {
        let name_error = |problem| Error::Name { name: Name(&entry.path).to_string(), problem };
        clean(&entry.path, path).map_err(name_error)?;
        match meaning(path).map_err(name_error)? {
            Meaning::Entry => {}
            Meaning::AufsLinkTarget if entry.kind == Kind::File => {}
            Meaning::Aufs | Meaning::AufsLinkTarget => {
                self.dropped.add(path);
                return Ok(());
            }
            Meaning::Opaque { directory } => return self.mark(directory, Body::Opaque),
            Meaning::Whiteout { directory, name } => {
                let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
                return self.mark(&[directory, separator, name].concat(), Body::Whiteout);
            }
        }
        if path.is_empty() && entry.kind != Kind::Directory {
            return Err(Error::Root(Name(&entry.path).to_string()));
        }
        if entry.kind == Kind::CharacterDevice && entry.device == (0, 0) {
            let reason = "left out: a character device 0:0 hides files in the guest's overlay";
            self.warn(&entry.path, format_args!("{reason}"));
            self.dropped.add(path);
            return Ok(());
        }
        self.check_xattrs(&mut entry);
        let attributes = Attributes { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime };
        match entry.kind {
            Kind::Directory => {
                xattr_bytes(&entry)?;
                self.record(path, &Body::Directory, &attributes, &entry.xattrs)
            }
            Kind::HardLink => {
                let mut target = Vec::new();
                clean(&entry.link, &mut target)
                    .map_err(|problem| Error::Name { name: Name(&entry.link).to_string(), problem })?;
                if self.dropped.has(&target) {
                    let target = Name(&target);
                    self.warn(&entry.path, format_args!("left out: a hard link to `{target}`, which is"));
                    self.dropped.add(path);
                    return Ok(());
                }
                self.record(path, &Body::HardLink { target: &target }, &attributes, &[])
            }
            Kind::File => self.file(path, entry, &attributes),
            Kind::Symlink => self.symlink(path, entry, &attributes),
            Kind::CharacterDevice | Kind::BlockDevice | Kind::Fifo => self.special(path, entry, &attributes),
        }
    }

    fn mark(&mut self, path: &[u8], body: Body<'_>) -> Result<(), Error> {
        self.record(path, &body, &Attributes::default(), &[])
    }

    fn record(
        &mut self,
        path: &[u8],
        body: &Body<'_>,
        attributes: &Attributes,
        xattrs: &[Xattr],
    ) -> Result<(), Error> {
        if !matches!(body, Body::Whiteout | Body::Opaque) {
            self.dropped.replace(path);
        }
        self.table.add(path, body, attributes, xattrs).map_err(table_error)?;
        match self.table.bytes() > self.limits.table_bytes {
            true => Err(Error::TableTooLarge { limit: self.limits.table_bytes }),
            false => Ok(()),
        }
    }

    /// Leaves out the xattrs that an image cannot hold.
    fn check_xattrs(&mut self, entry: &mut Entry) {
        let path = &entry.path;
        entry.xattrs.retain(|Xattr { name, value }| match xattr::objection(name, value) {
            None => true,
            Some(reason) => {
                self.warn(path, format_args!("extended attribute `{}` left out: {reason}", Name(name)));
                false
            }
        });
    }

    fn warn(&mut self, path: &[u8], warning: fmt::Arguments<'_>) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(format!("`{}`: {warning}", Name(path)));
        } else {
            self.more_warnings += 1;
        }
    }

    fn file(&mut self, path: &[u8], entry: Entry, attributes: &Attributes) -> Result<(), Error> {
        let xattr_bytes = xattr_bytes(&entry)?;
        let stored = self.tar.remaining();
        self.hole_bytes = self.hole_bytes.saturating_add(entry.size.saturating_sub(stored));
        if self.hole_bytes > self.limits.hole_bytes {
            let name = Name(&entry.path).to_string();
            return Err(Error::Holes { name, limit: self.limits.hole_bytes });
        }
        let whole = [Extent { offset: 0, length: entry.size }];
        let extents = entry.sparse.as_deref().unwrap_or(&whole);
        let place = if is_small(entry.size, xattr_bytes) {
            let mut content = std::mem::take(&mut self.content);
            content.clear();
            self.read_small(&entry, extents, &mut content)?;
            let place = self.settle(FileType::File, &entry, attributes, xattr_bytes, 0, &content);
            self.content = content;
            place?
        } else {
            let block = self.data.block()?;
            self.copy(&entry, extents)?;
            Place::Plain { block }
        };
        self.record(path, &Body::File { size: entry.size, place }, attributes, &entry.xattrs)
    }

    fn read_small(&mut self, entry: &Entry, extents: &[Extent], content: &mut Vec<u8>) -> Result<(), Error> {
        for extent in extents {
            content.resize(extent.offset as usize, 0);
            let end = (extent.offset + extent.length) as usize;
            while content.len() < end {
                let chunk = self.tar.content().map_err(|problem| content_error(entry, problem))?;
                let taken = chunk.len().min(end - content.len());
                content.extend_from_slice(&chunk[..taken]);
                self.tar.consume(taken);
            }
        }
        content.resize(entry.size as usize, 0);
        Ok(())
    }

    /// Copies a file's content to blocks of its own.
    fn copy(&mut self, entry: &Entry, extents: &[Extent]) -> Result<(), Error> {
        let mut position = 0;
        for extent in extents {
            self.data.zeroes(extent.offset - position)?;
            let mut left = extent.length;
            while left > 0 {
                let chunk = self.tar.content().map_err(|problem| content_error(entry, problem))?;
                let taken = (chunk.len() as u64).min(left) as usize;
                self.data.append(&chunk[..taken])?;
                self.tar.consume(taken);
                left -= taken as u64;
            }
            position = extent.offset + extent.length;
        }
        self.data.zeroes(entry.size - position)
    }

    fn symlink(&mut self, path: &[u8], entry: Entry, attributes: &Attributes) -> Result<(), Error> {
        if !(1..=super::name::MAX_PATH).contains(&entry.link.len()) {
            return Err(Error::LinkTarget { name: Name(&entry.path).to_string() });
        }
        // A symbolic link has no mode of its own; Linux shows this one.
        let attributes = Attributes { mode: 0o777, ..*attributes };
        let xattr_bytes = xattr_bytes(&entry)?;
        let place = if is_small(entry.link.len() as u64, xattr_bytes) {
            self.settle(FileType::Symlink, &entry, &attributes, xattr_bytes, 0, &entry.link)?
        } else {
            let block = self.data.block()?;
            self.data.append(&entry.link)?;
            Place::Plain { block }
        };
        self.record(path, &Body::Symlink { target: &entry.link, place }, &attributes, &entry.xattrs)
    }

    fn special(&mut self, path: &[u8], entry: Entry, attributes: &Attributes) -> Result<(), Error> {
        let number = device_number(entry.device);
        let file_type = match entry.kind {
            Kind::CharacterDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let xattr_bytes = xattr_bytes(&entry)?;
        let place = match is_small(0, xattr_bytes) {
            true => self.settle(file_type, &entry, attributes, xattr_bytes, number, &[])?,
            false => Place::Plain { block: 0 },
        };
        let body = match file_type {
            FileType::CharacterDevice => Body::CharacterDevice { number, place },
            FileType::BlockDevice => Body::BlockDevice { number, place },
            _ => Body::Fifo { place },
        };
        self.record(path, &body, attributes, &entry.xattrs)
    }

    fn settle(
        &mut self,
        file_type: FileType,
        entry: &Entry,
        attributes: &Attributes,
        xattr_bytes: usize,
        union: u32,
        content: &[u8],
    ) -> Result<Place, Error> {
        let file = SmallFile { file_type, attributes, xattrs: &entry.xattrs, xattr_bytes, union, content };
        let settled = self.small.add(&file, &mut self.data)?;
        Ok(Place::Settled { block: settled.block, offset: settled.offset as u16 })
    }
}

fn xattr_bytes(entry: &Entry) -> Result<usize, Error> {
    let pairs = entry.xattrs.iter().map(|Xattr { name, value }| (&name[..], &value[..]));
    match xattr::inline_bytes(pairs) {
        bytes if bytes <= xattr::MAX_BYTES => Ok(bytes),
        bytes => {
            let name = Name(&entry.path).to_string();
            Err(Error::Xattrs { name, bytes, limit: xattr::MAX_BYTES })
        }
    }
}

fn content_error(entry: &Entry, problem: tar::Problem) -> Error {
    match problem {
        tar::Problem::Read(error) => tar::Error::Read(error).into(),
        problem => tar::Error::Entry { name: Name(&entry.path).to_string(), problem }.into(),
    }
}

fn table_error(source: io::Error) -> Error {
    Error::Write { what: "entry table", source }
}
