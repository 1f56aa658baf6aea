//! What files take on disk.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes that the file system has allocated for a directory and all in it. What somebody removes meanwhile takes none.
pub fn allocated(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let Some(entries) = present(fs::read_dir(directory))? else { return Ok(0) };
    for entry in entries {
        let Some(entry) = present(entry)? else { continue };
        let Some(metadata) = present(entry.metadata())? else { continue };
        bytes += metadata.blocks() * 512;
        if metadata.is_dir() {
            bytes += allocated(&entry.path())?;
        }
    }
    Ok(bytes)
}

fn present<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
