//! Mounting, with errors that say what and where.

use std::ffi::{CStr, CString};

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, mkdir, statat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use crate::fault::{Fault, OrFault};

/// Mounts the file system `kind` on `target`. `source` is its device, or its name where it has none.
pub fn mount_on(
    source: &str,
    target: &str,
    kind: &str,
    flags: MountFlags,
    options: &str,
) -> Result<(), rustix::io::Errno> {
    // An option holds no NUL: all of them are constants, numbers and names that the caller checked.
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    let options: Option<&CStr> = (!options.is_empty()).then_some(options.as_c_str());
    mount(source, target, kind, flags, options)
}

/// A path that leads to what is open, by /proc, and is no link in the image. mount(2) takes it on every kernel, also for
/// what no other path leads to any more.
pub fn name_of(open: &OwnedFd) -> String {
    ["/proc/self/fd/", &open.as_raw_fd().to_string()].concat()
}

/// Makes the directory `path` unless it exists, and sees that it is one: a mount would follow a
/// symbolic link of the image to some other directory of it.
pub fn mount_point(path: &str, mode: u32) -> Result<(), Fault> {
    match mkdir(path, Mode::from_raw_mode(mode)) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error).or_fault("cannot make the directory", path),
    }
    let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).or_fault("cannot look at", path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Fault::new(["the image's ", path, " is not a directory"].concat()));
    }
    Ok(())
}

/// Makes `path` and its parents as far as they are missing. Symbolic links on the way are followed.
pub fn make_directories(path: &[u8]) -> Result<(), Errno> {
    let ends = path.iter().enumerate().filter(|(at, byte)| **byte == b'/' && *at > 0).map(|(at, _)| at);
    for end in ends.chain([path.len()]) {
        match mkdir(&path[..end], Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            // On a file system that cannot be written, what exists already is good enough.
            Err(Errno::ROFS) if statat(CWD, &path[..end], AtFlags::empty()).is_ok() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> String {
        let path = format!("{}/vmrun-mounts-{}-{name}", std::env::temp_dir().display(), std::process::id());
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn directories_are_made_down_to_the_last() {
        let base = scratch("down");
        let path = format!("{base}/a//b/c/");
        make_directories(path.as_bytes()).unwrap();
        make_directories(path.as_bytes()).unwrap();
        assert!(std::fs::metadata(&path).unwrap().is_dir());
        std::fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn a_mount_point_is_no_link_and_no_file() {
        let base = scratch("point");
        std::os::unix::fs::symlink("/etc", format!("{base}/link")).unwrap();
        std::fs::write(format!("{base}/file"), "").unwrap();
        assert!(mount_point(&format!("{base}/link"), 0o755).is_err());
        assert!(mount_point(&format!("{base}/file"), 0o755).is_err());
        mount_point(&format!("{base}/new"), 0o755).unwrap();
        mount_point(&format!("{base}/new"), 0o755).unwrap();
        std::fs::remove_dir_all(&base).unwrap();
    }
}
