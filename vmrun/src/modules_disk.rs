//! The disk of a kernel's modules, written as images' disks are.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rootfs_builder::erofs::{LayerFiles, write_flat};
use rootfs_builder::layer::{self, Limits};

/// Writes the tree of a tar stream as one EROFS file.
pub fn make(tree: &mut dyn Read, disk: &Path) -> io::Result<()> {
    let (data, entries) = (disk.with_extension("data"), disk.with_extension("entries"));
    let made = make_through(tree, disk, &data, &entries);
    for file in [data, entries] {
        // It is in a directory that goes if this fails.
        let _ = fs::remove_file(file);
    }
    made
}

/// The tree is one layer, and the disk all that this layer shows.
fn make_through(tree: &mut dyn Read, disk: &Path, data: &Path, entries: &Path) -> io::Result<()> {
    let summary = layer::build(tree, new_file(data)?, new_file(entries)?, &Limits::default())
        .map_err(io::Error::other)?;
    let layer = LayerFiles { data, data_length: summary.data_bytes, entries };
    write_flat(&[layer], &new_file(disk)?).map_err(io::Error::other)?;
    Ok(())
}

fn new_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).open(path)
}
