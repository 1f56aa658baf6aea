//! Files that appear whole or not at all, and stay.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

use super::error::{At, Result};

/// Creates a new file, readable and writable.
pub fn create(path: &Path) -> Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path).at("creating", path)
}

/// Begins to write to disk what a file has in memory, every so many bytes, so that little is left to wait for
/// when the file is synced.
#[derive(Default)]
pub struct WriteBack {
    since: u64,
}

impl WriteBack {
    const EVERY: u64 = 4 << 20;

    /// Takes note that so many bytes more were written.
    pub fn wrote(&mut self, bytes: usize, file: &File) {
        self.since += bytes as u64;
        if self.since >= WriteBack::EVERY {
            self.since = 0;
            // SAFETY: the descriptor is open as long as `file` is borrowed, and no memory is passed. A failure
            // does not matter: the sync at the end reports what cannot be written.
            unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
        }
    }
}

/// Makes the entries of a directory last.
pub fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).at("syncing", path)
}

/// Writes a small file by way of `draft`, a path on the same file system, and replaces what was at `path`.
pub fn replace(path: &Path, draft: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(draft).at("creating", draft)?;
    file.write_all(bytes).and_then(|()| file.sync_data()).at("writing", draft)?;
    fs::rename(draft, path).at("replacing", path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Moves each file of a directory's draft over the one that is in its place.
pub fn replace_files(draft: &Path, place: &Path, files: &[&str]) -> Result<()> {
    for file in files {
        let (new, old) = (draft.join(file), place.join(file));
        fs::rename(&new, &old).at("replacing", &old)?;
    }
    sync_directory(place)
}

/// Moves a synced file or directory of files to its place. Someone may have put the same content there before:
/// then ours is left where it is, and `false` is returned.
pub fn install(draft: &Path, place: &Path) -> Result<bool> {
    match rustix::fs::renameat_with(
        rustix::fs::CWD,
        draft,
        rustix::fs::CWD,
        place,
        rustix::fs::RenameFlags::NOREPLACE,
    ) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY) => Ok(false),
        // File systems without that flag (some network ones): content-addressed, so replacing is harmless.
        Err(rustix::io::Errno::INVAL) => match fs::rename(draft, place) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
            Err(error) => Err(error).at("creating", place),
        },
        Err(error) => Err(error).at("creating", place),
    }
}
