//! One module into the kernel.

use std::ffi::CString;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::system::finit_module;

use super::name::name_of;
use crate::{errno, log};

/// Loads the file at `path` on the disk. Whether the module is there now: by this, or by another's request.
pub fn load(disk: &OwnedFd, path: &str, options: &str) -> bool {
    if is_live(&name_of(path)) {
        return true;
    }
    let parameters = CString::new(options).unwrap_or_default();
    let file = openat(disk, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    match file.and_then(|file| finit_module(file, &parameters, 0)) {
        Ok(()) | Err(Errno::EXIST) => true,
        // Drivers of hardware that is not there say so; of what answers to one alias, another may fit.
        Err(Errno::NODEV) => false,
        Err(error) => {
            log::note(&["cannot load the module ", path, ": ", &errno::in_words(&error)].concat());
            false
        }
    }
}

/// Whether it has been loaded to its end. One that is just being loaded is waited for by loading it.
fn is_live(name: &str) -> bool {
    let path = ["/sys/module/", name, "/initstate"].concat();
    std::fs::read(path).is_ok_and(|state| state.trim_ascii() == b"live")
}
