//! SHA-256 of files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Error, Watcher};

/// Adds a file's content to `digest`.
pub fn update(digest: &mut Sha256, path: &Path, watcher: &dyn Watcher) -> Result<(), Error> {
    let failed = |cause| Error::Read { path: path.to_owned(), cause };
    let mut file = File::open(path).map_err(failed)?;
    let mut buffer = vec![0; 128 << 10];
    loop {
        if watcher.cancelled() {
            return Err(Error::Cancelled);
        }
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => digest.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// A file's digest, as index files of archives have it.
pub fn of_file(path: &Path, watcher: &dyn Watcher) -> Result<String, Error> {
    let mut digest = Sha256::new();
    update(&mut digest, path, watcher)?;
    Ok(hexadecimal(&digest.finalize()))
}

pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
