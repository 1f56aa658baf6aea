//! From a tar archive to a machine.

use std::io::{BufReader, Read, Write};

use anyhow::{Context, Result, bail};
use file_tree::Error;
use guest_protocol::files::stream::StreamError;
use guest_protocol::files::{Entry, Item, ItemWriter, Kind, MAX_PATH, Time, Xattr};
use rootfs_builder::compression::sniff;
use rootfs_builder::layer::name::{Name, clean};
use rootfs_builder::layer::tar::{self, Extent, TarReader};

const BUFFER: usize = 256 << 10;

/// Sends what is in the archive, which may be compressed. Entries without a place below the directory
/// they are unpacked in are refused. The outer error is of the archive, the inner one of sending.
pub fn send_archive<W: Write>(
    archive: impl Read,
    to: &mut ItemWriter<W>,
) -> Result<std::result::Result<(), Error>> {
    let (compression, stream) = sniff(archive).context("cannot read the archive")?;
    let decoder =
        compression.decoder(BufReader::with_capacity(BUFFER, stream)).context("cannot read the archive")?;
    let mut tar = TarReader::new(BufReader::with_capacity(BUFFER, decoder));
    while let Some(found) = tar.next_entry().context("cannot read the archive")? {
        let entry = entry(&found)?;
        let size = entry.size();
        if let Err(error) = to.item(&Item::Entry(entry)) {
            return Ok(Err(error.into()));
        }
        let sent = content(&mut tar, &found, size, to)
            .with_context(|| format!("cannot read the archive’s ‘{}’", Name(&found.path)))?;
        if let Err(error) = sent {
            return Ok(Err(error.into()));
        }
    }
    Ok(Ok(()))
}

/// The entry as a machine is to make it.
fn entry(found: &tar::Entry) -> Result<Entry> {
    let name = Name(&found.path);
    let place = |path: &[u8]| -> Result<Vec<u8>> {
        let mut cleaned = Vec::new();
        if let Err(problem) = clean(path, &mut cleaned) {
            bail!("the archive’s entry ‘{name}’ is refused: {problem}");
        }
        Ok(cleaned)
    };
    let (major, minor) = found.device;
    let kind = match found.kind {
        tar::Kind::Directory => Kind::Directory,
        tar::Kind::File => Kind::File(found.size),
        tar::Kind::Symlink => Kind::Symlink(found.link.clone()),
        tar::Kind::HardLink => Kind::HardLink(place(&found.link)?),
        tar::Kind::CharacterDevice => Kind::CharacterDevice(major, minor),
        tar::Kind::BlockDevice => Kind::BlockDevice(major, minor),
        tar::Kind::Fifo => Kind::Fifo,
    };
    let xattr = |xattr: &tar::Xattr| Xattr { name: xattr.name.clone(), value: xattr.value.clone() };
    let entry = Entry {
        path: place(&found.path)?,
        kind,
        mode: found.mode & 0o7777,
        uid: found.uid,
        gid: found.gid,
        modified: Time { seconds: found.mtime.seconds, nanoseconds: found.mtime.nanoseconds },
        xattrs: found.xattrs.iter().map(xattr).collect(),
    };
    if entry.path.is_empty() && entry.kind != Kind::Directory {
        bail!("the archive’s entry ‘{name}’ is refused: the directory itself can only be a directory");
    }
    entry.check().with_context(|| {
        format!("an entry of the archive is refused (paths have at most {MAX_PATH} bytes)")
    })?;
    Ok(entry)
}

/// Sends a file's bytes, and zeroes where a sparse one has holes.
fn content<W: Write>(
    tar: &mut TarReader<impl std::io::BufRead>,
    found: &tar::Entry,
    size: u64,
    to: &mut ItemWriter<W>,
) -> std::result::Result<std::result::Result<(), StreamError>, tar::Problem> {
    let whole = [Extent { offset: 0, length: size }];
    let extents = found.sparse.as_deref().unwrap_or(if size > 0 { &whole } else { &[] });
    for extent in extents {
        if let Err(error) = zeroes(to, to.left().saturating_sub(size.saturating_sub(extent.offset))) {
            return Ok(Err(error));
        }
        let mut left = extent.length;
        while left > 0 {
            let piece = tar.content()?;
            let length = (piece.len() as u64).min(left) as usize;
            if length == 0 {
                return Err(tar::Problem::Truncated);
            }
            if let Err(error) = to.data(&piece[..length]) {
                return Ok(Err(error));
            }
            tar.consume(length);
            left -= length as u64;
        }
    }
    Ok(to.pad())
}

fn zeroes<W: Write>(to: &mut ItemWriter<W>, mut count: u64) -> std::result::Result<(), StreamError> {
    let zeroes = [0; 4096];
    while count > 0 {
        let length = count.min(zeroes.len() as u64);
        to.data(&zeroes[..length as usize])?;
        count -= length;
    }
    Ok(())
}

#[cfg(test)]
#[path = "archive_test.rs"]
mod tests;
