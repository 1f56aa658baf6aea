//! The disk of a kernel's modules, written as images' disks are.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use kernels::{Abilities, Ability, Feature};
use rootfs_builder::erofs::{LayerFiles, write_flat};
use rootfs_builder::ext4::{self, LargeFiles};
use rootfs_builder::layer::{self, Limits};

/// Writes the tree of a tar stream as one file: EROFS, or ext4 for a kernel that has no EROFS.
pub fn make(tree: &mut dyn Read, disk: &Path, abilities: &Abilities) -> io::Result<()> {
    let (data, entries) = (disk.with_extension("data"), disk.with_extension("entries"));
    let erofs = !matches!(abilities.of(Feature::Erofs), Ability::Absent { .. });
    let made = make_through(tree, disk, &data, &entries, erofs);
    for file in [data, entries] {
        // It is in a directory that goes if this fails.
        let _ = fs::remove_file(file);
    }
    made
}

/// The tree is one layer, and the disk all that this layer shows.
fn make_through(
    tree: &mut dyn Read,
    disk: &Path,
    data: &Path,
    entries: &Path,
    erofs: bool,
) -> io::Result<()> {
    let summary = layer::build(tree, new_file(data)?, new_file(entries)?, &Limits::default())
        .map_err(io::Error::other)?;
    let layer = LayerFiles { data, data_length: summary.data_bytes, entries };
    let disk = new_file(disk)?;
    match erofs {
        true => write_flat(&[layer], &disk).map(drop).map_err(io::Error::other),
        false => ext4::write(&[layer], LargeFiles::Copied, &disk).map(drop).map_err(io::Error::other),
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).open(path)
}
