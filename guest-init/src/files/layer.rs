//! A machine's writable layer as a layer of an image (OCI image-spec, layer.md).

use std::ffi::CStr;
use std::io::Write;

use file_tree::{Error, Result, TreeReader, join, names};
use guest_protocol::files::{Entry, ItemWriter, Kind, Time};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, statat};
use rustix::io::Errno;

use super::placeholders::Placeholders;
use super::whiteout::{ALL_GONE, GONE, is_for_others, is_opaque, is_whiteout};
use crate::overlay::Layers;

/// Sends everything that the upper layer holds; what the overlay notes for itself becomes whiteouts.
pub fn send<W: Write>(layers: &Layers, to: &mut ItemWriter<W>) -> Result<()> {
    let placeholders = Placeholders::find(layers);
    let mut layer = Layer { tree: TreeReader::new(to, is_for_others), placeholders };
    layer.below(layers.upper.as_fd(), b"")
}

struct Layer<'a, W: Write> {
    tree: TreeReader<'a, W>,
    placeholders: Placeholders,
}

impl<W: Write> Layer<'_, W> {
    fn below(&mut self, directory: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
        let names = names(directory).map_err(|error| failed("read the directory", path, error))?;
        for name in names {
            let below = join(path, name.to_bytes());
            if self.placeholders.is_unchanged(&below) {
                continue;
            }
            if name.to_bytes().starts_with(GONE) {
                self.tree.warn(&below, "has a name that no image can hold, and was left out")?;
                continue;
            }
            self.one(directory, &name, path, &below)?;
        }
        Ok(())
    }

    fn one(&mut self, parent: BorrowedFd<'_>, name: &CStr, above: &[u8], path: &[u8]) -> Result<()> {
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(failed("look at", path, error)),
            Ok(stat) if is_whiteout(&stat) => {
                return self.tree.send(marker(join(above, &[GONE, name.to_bytes()].concat())));
            }
            Ok(_) => {}
        }
        let Some(directory) = self.tree.one(parent, name, path)? else { return Ok(()) };
        if is_opaque(directory.as_fd()) {
            self.tree.send(marker(join(path, ALL_GONE)))?;
        }
        self.below(directory.as_fd(), path)
    }
}

/// An empty file that only its name says something with.
fn marker(path: Vec<u8>) -> Entry {
    let (modified, xattrs) = (Time::default(), Vec::new());
    Entry { path, kind: Kind::File(0), mode: 0, uid: 0, gid: 0, modified, xattrs }
}

fn failed(doing: &'static str, path: &[u8], error: Errno) -> Error {
    Error::System { doing, path: String::from_utf8_lossy(path).into_owned(), error }
}
