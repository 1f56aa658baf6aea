//! What the large files of a stored kernel were when they were stored.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::bounded::Bounded;
use crate::kernel::{MODULES_DISK, VMLINUX};

/// Lines as sha256sum(1) writes and checks them.
const SUMS: &str = "SHA256SUMS";
const SUMS_LIMIT: u64 = 4096;

/// Writes the sums of those files that are in `directory`.
pub fn write(directory: &Path) -> io::Result<()> {
    let mut lines = String::new();
    for name in [VMLINUX, MODULES_DISK] {
        if let Some(sum) = sum(&directory.join(name))? {
            lines.push_str(&format!("{sum}  {name}\n"));
        }
    }
    fs::write(directory.join(SUMS), lines)
}

/// The first file that is not what it was. Kernels that an older vmrun added have no sums.
pub fn differing(directory: &Path) -> io::Result<Option<String>> {
    let mut lines = String::new();
    match File::open(directory.join(SUMS)) {
        Ok(file) => Bounded::new(file, SUMS_LIMIT, "the list of sums").read_to_string(&mut lines)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for (known, name) in lines.lines().filter_map(|line| line.split_once("  ")) {
        let is_one = [VMLINUX, MODULES_DISK].contains(&name);
        if is_one && sum(&directory.join(name))?.as_deref() != Some(known) {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

fn sum(path: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut digest = Sha256::new();
    let mut piece = vec![0; 128 << 10];
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => digest.update(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}
