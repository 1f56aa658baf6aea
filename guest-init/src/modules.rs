//! The kernel modules this run needs, as the bootfs brought them.

use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Dir, Mode, OFlags, open, openat};
use rustix::io::Errno;
use rustix::system::finit_module;

use crate::fault::{Fault, OrFault};
use crate::{errno, log};

const NO_PARAMETERS: &CStr = c"";

/// Loads every module of `directory` in the order of the file names, which is the order of their
/// dependencies. A bootfs without the directory needs none: everything is built in.
pub fn load_all(directory: &str) -> Result<(), Fault> {
    for path in in_load_order(directory)? {
        load(&path)?;
    }
    Ok(())
}

/// Loads those of `directory` in the same way. Nobody waits for them: what fails is only said.
pub fn load_later(directory: OwnedFd) {
    let entries = Dir::read_from(&directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_owned()).collect();
    names.sort();
    for name in names.iter().filter(|name| name.to_bytes().ends_with(b".ko")) {
        let opened = openat(directory.as_fd(), name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        match opened.and_then(|file| finit_module(file, NO_PARAMETERS, 0)) {
            Ok(()) | Err(Errno::EXIST | Errno::NODEV) => {}
            Err(error) => {
                let cause = errno::in_words(&error);
                log::note(&["cannot load the module ", &name.to_string_lossy(), ": ", &cause].concat());
            }
        }
    }
}

fn in_load_order(directory: &str) -> Result<Vec<PathBuf>, Fault> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.or_fault("cannot read the directory", directory)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.or_fault("cannot read the directory", directory)?.path();
        if path.extension().is_some_and(|extension| extension == "ko") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn load(path: &Path) -> Result<(), Fault> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .or_fault("cannot open the kernel module", &name)?;
    match finit_module(file, NO_PARAMETERS, 0) {
        // Built in, or loaded by another's request.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        // A driver for hardware that this machine lacks, such as an accelerated checksum beside the
        // generic one. If it was needed after all, what needs it will say so.
        Err(Errno::NODEV) => {
            log::note(&["the kernel module ", &name, " found no hardware"].concat());
            Ok(())
        }
        Err(error) => Err(error).or_fault("cannot load the kernel module", &name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_order_is_name_order() {
        let directory = std::env::temp_dir().join(format!("vmrun-modules-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for name in ["10-overlay.ko", "02-virtio.ko", "01-crc32c.ko", "README"] {
            fs::write(directory.join(name), "").unwrap();
        }
        let paths = in_load_order(directory.to_str().unwrap()).unwrap();
        let names: Vec<_> = paths.iter().map(|p| p.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["01-crc32c.ko", "02-virtio.ko", "10-overlay.ko"]);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn no_directory_is_no_modules() {
        assert!(in_load_order("/nonexistent/modules").unwrap().is_empty());
    }
}
