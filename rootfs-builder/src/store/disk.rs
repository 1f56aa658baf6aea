//! An image's disk: of which files of the store it consists, and how it becomes one file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::{At, Error, Result, disk_full};
use super::images::Image;
use super::layers::LayerPaths;
use super::session::Session;
use super::{Store, durable};
use crate::digest::Digest;
use crate::erofs::{self, LayerFiles};
use crate::ext4::{self, LargeFiles};
use crate::image::ImageId;

/// The file in an image's directory that is the part of an ext4 of its own.
pub(super) const EXT4: &str = "ext4";

/// The image's read-only file system, as parts that follow one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    pub parts: Vec<DiskPart>,
    /// Bytes of all parts.
    pub length: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskPart {
    pub path: PathBuf,
    /// Bytes, a multiple of 4096.
    pub length: u64,
}

/// The file system of a disk. The tree is the same in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFormat {
    Erofs,
    /// For kernels without EROFS. Made when it is first wanted.
    Ext4,
}

impl Image {
    /// The image as EROFS.
    pub fn disk(&self) -> Disk {
        self.disk_with("metadata", self.metadata_length())
    }

    /// A file of the image's own, and behind it its layers' data.
    fn disk_with(&self, file: &str, length: u64) -> Disk {
        let own = DiskPart { path: self.directory.join(file), length };
        let data = self.layers().filter(|(_, length)| *length > 0).map(|(diff_id, length)| DiskPart {
            path: self.layers_directory.join(diff_id.hex()).join("data"),
            length,
        });
        let parts: Vec<DiskPart> = std::iter::once(own).chain(data).collect();
        let length = parts.iter().map(|part| part.length).sum();
        Disk { parts, length }
    }
}

impl Store {
    /// The image's disk in a format. What ext4 needs besides the layers' data is written the first time, and kept as
    /// long as the image is.
    pub fn disk(&self, image: &Image, format: DiskFormat) -> Result<Disk> {
        if format == DiskFormat::Erofs {
            return Ok(image.disk());
        }
        let data: u64 = image.layers().map(|(_, length)| length).sum();
        let place = image.directory.join(EXT4);
        let length = match whole_ext4(&place, data) {
            Some(length) => length,
            None => self.adding(|session| {
                let (draft, length) = ext4_draft(session, image.id(), image.layers())?;
                // Somebody may have done the same just now, with the same bytes.
                fs::rename(&draft, &place).at("creating", &place)?;
                durable::sync_directory(&image.directory)?;
                Ok(length)
            })?,
        };
        Ok(image.disk_with(EXT4, length))
    }

    /// Writes an image's disk to an empty file: one ordinary file system. Returns its length in bytes.
    pub fn export_rootfs(&self, image: &Image, format: DiskFormat, out: &mut File) -> Result<u64> {
        let disk = self.disk(image, format)?;
        for part in &disk.parts {
            let file = File::open(&part.path).at("opening", &part.path)?;
            let copied = io::copy(&mut file.take(part.length), out).map_err(Error::Output)?;
            if copied != part.length {
                let reason = format!("it has {copied} bytes instead of {}", part.length);
                return Err(Error::Damaged { path: part.path.clone(), reason });
            }
        }
        Ok(disk.length)
    }

    /// Writes an image's file system to an empty file without what its upper layers removed or replaced. Returns its
    /// length in bytes.
    pub fn export_flat(&self, image: &Image, format: DiskFormat, out: &File) -> Result<u64> {
        let paths = self.layer_paths(image.layers());
        let files: Vec<LayerFiles> = paths.iter().map(LayerPaths::files).collect();
        match format {
            DiskFormat::Erofs => match erofs::write_flat(&files, out) {
                Ok(summary) => Ok(summary.length),
                Err(erofs::Error::Write(source)) => Err(Error::Output(source)),
                Err(source) => Err(Error::Metadata { image: image.id(), source }),
            },
            DiskFormat::Ext4 => match ext4::write(&files, LargeFiles::Copied, out) {
                Ok(summary) => Ok(summary.length),
                Err(ext4::Error::Write(source)) => Err(Error::Output(source)),
                Err(source) => Err(Error::Ext4 { image: image.id(), source }),
            },
        }
    }
}

/// The length of an ext4's own part, if it is there and was written for layers with so many bytes of data.
fn whole_ext4(path: &Path, data: u64) -> Option<u64> {
    let file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    (ext4::disk_length(&file) == length.checked_add(data)).then_some(length)
}

/// Leaves the part of an ext4 that is an image's own as a draft, synced; and its length.
pub(super) fn ext4_draft(
    session: &Session,
    id: ImageId,
    layers: impl Iterator<Item = (Digest, u64)>,
) -> Result<(PathBuf, u64)> {
    let paths = session.store.layer_paths(layers);
    let files: Vec<LayerFiles> = paths.iter().map(LayerPaths::files).collect();
    let draft = session.draft(EXT4);
    let out = durable::create(&draft)?;
    let written = ext4::write(&files, LargeFiles::InLayers, &out);
    let summary = written.map_err(|source| match disk_full(&source) {
        true => Error::Full(session.store.root.clone()),
        false => Error::Ext4 { image: id, source },
    })?;
    out.sync_data().at("syncing", &draft)?;
    Ok((draft, summary.length))
}
