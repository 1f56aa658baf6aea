//! The files of an RPM package as its header lists them: what the payload of a package of version 6, or with large
//! files, only has numbers for.

use std::collections::HashMap;

use super::Error;
use super::package_files::{ENTRIES_LIMIT, LONGEST_NAME};
use super::rpm_header::RpmHeader;

/// Tags (rpmtag.h), each a list with a value for each file, but for the names of directories.
const SIZES: u32 = 1028;
const MODES: u32 = 1030;
const FLAGS: u32 = 1037;
const DEVICES: u32 = 1095;
const INODES: u32 = 1096;
const DIRECTORY_NUMBERS: u32 = 1116;
const BASE_NAMES: u32 = 1117;
const DIRECTORY_NAMES: u32 = 1118;
const LONG_SIZES: u32 = 5008;

/// A file that the package owns and does not have.
const GHOST: u64 = 1 << 6;
/// The part of a mode that says what a file is.
pub const KIND: u32 = 0o170_000;
pub const REGULAR: u32 = 0o100_000;
pub const SYMLINK: u32 = 0o120_000;

pub struct RpmFiles<'a> {
    base_names: Vec<&'a [u8]>,
    directory_names: Vec<&'a [u8]>,
    directory_numbers: Vec<u64>,
    modes: Vec<u64>,
    sizes: Vec<u64>,
    flags: Vec<u64>,
    /// Device and inode of each: files that share them are one.
    inodes: Vec<(u64, u64)>,
    /// The last file of each: that one has the content.
    last: HashMap<(u64, u64), usize>,
}

/// One file of a package.
#[derive(Debug, PartialEq, Eq)]
pub struct RpmFile {
    /// As in a payload that has names: without the root.
    pub name: Vec<u8>,
    pub mode: u32,
    /// Of its content in the payload, in bytes.
    pub size: u64,
    /// Its content comes with a later one.
    pub is_link: bool,
}

impl<'a> RpmFiles<'a> {
    /// What is missing is not missed before a payload asks for it.
    pub fn of(header: &'a RpmHeader) -> Result<RpmFiles<'a>, Error> {
        let numbers = |tag| header.numbers(tag, ENTRIES_LIMIT);
        let large = numbers(LONG_SIZES)?;
        let mut files = RpmFiles {
            base_names: header.texts(BASE_NAMES, ENTRIES_LIMIT)?,
            directory_names: header.texts(DIRECTORY_NAMES, ENTRIES_LIMIT)?,
            directory_numbers: numbers(DIRECTORY_NUMBERS)?,
            modes: numbers(MODES)?,
            sizes: if large.is_empty() { numbers(SIZES)? } else { large },
            flags: numbers(FLAGS)?,
            inodes: numbers(DEVICES)?.into_iter().zip(numbers(INODES)?).collect(),
            last: HashMap::new(),
        };
        for (number, inode) in files.inodes.iter().enumerate() {
            let is_ghost = files.flags.get(number).is_some_and(|flags| flags & GHOST != 0);
            let is_regular = files.mode(number).is_some_and(|mode| mode & KIND == REGULAR);
            if is_regular && !is_ghost && inode.1 != 0 {
                files.last.insert(*inode, number);
            }
        }
        Ok(files)
    }

    pub fn get(&self, number: u32) -> Result<RpmFile, Error> {
        self.file(number as usize).unwrap_or_else(|| {
            Err(Error::Package(format!("its payload has a file {number}, which its header does not list")))
        })
    }

    fn file(&self, number: usize) -> Option<Result<RpmFile, Error>> {
        let base = self.base_names.get(number)?;
        let directory = usize::try_from(*self.directory_numbers.get(number)?).ok()?;
        let directory = self.directory_names.get(directory)?;
        let (mode, size) = (self.mode(number)?, *self.sizes.get(number)?);
        if (directory.len() + base.len()) as u64 > LONGEST_NAME {
            return Some(Err(Error::Limit("a file's name", format!("{LONGEST_NAME} bytes"))));
        }
        let name = [directory.strip_prefix(b"/").unwrap_or(directory), base].concat();
        let last = self.inodes.get(number).and_then(|inode| self.last.get(inode));
        let is_link = mode & KIND == REGULAR && last.is_some_and(|last| *last != number);
        let has_content = matches!(mode & KIND, REGULAR | SYMLINK) && !is_link;
        Some(Ok(RpmFile { name, mode, size: if has_content { size } else { 0 }, is_link }))
    }

    fn mode(&self, number: usize) -> Option<u32> {
        self.modes.get(number).and_then(|mode| u32::try_from(*mode).ok())
    }
}
