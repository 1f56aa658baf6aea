//! Leaving the bootfs behind.

use std::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, fstat, fstatfs, mkdirat, open, openat, statat, unlinkat,
};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::mount::{UnmountFlags, mount_move, unmount};
use rustix::process::{chdir, chroot};

use crate::fault::{Fault, OrFault};

/// An initramfs is shallow; deeper than this there is something else.
const MAX_DEPTH: u32 = 64;

/// The initramfs, hidden below the root that took its place.
pub struct Bootfs {
    root: OwnedFd,
}

/// Makes the mount at `new_root` the root of everything and returns what was there before.
pub fn switch_to(new_root: &str) -> Result<Bootfs, Fault> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open("/", flags, Mode::empty()).or_fault("cannot open", "the bootfs")?;
    // Mounted for the bootfs alone; the new root gets its own.
    unmount("/dev", UnmountFlags::DETACH).or_fault("cannot unmount", "/dev of the bootfs")?;
    let _ = unmount("/sys", UnmountFlags::DETACH);
    chdir(new_root).or_fault("cannot enter", new_root)?;
    mount_move(".", "/").or_fault("cannot move to /", new_root)?;
    chroot(".").or_fault("cannot make / of", new_root)?;
    chdir("/").or_fault("cannot enter", "the new root")?;
    Ok(Bootfs { root })
}

impl Bootfs {
    /// Makes a directory in it, with those above.
    pub fn make_directory(&self, path: &[&str]) -> Result<OwnedFd, Errno> {
        let mut directory = fcntl_dupfd_cloexec(&self.root, 0)?;
        for name in path {
            match mkdirat(&directory, *name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            directory = openat(&directory, *name, flags, Mode::empty())?;
        }
        Ok(directory)
    }

    /// Deletes all of it but the directory `name`, and returns that. Deletes nothing when there is none.
    pub fn free_but(&self, name: &str) -> Option<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let kept = openat(&self.root, name, flags, Mode::empty()).ok()?;
        let device = fstat(&self.root).ok()?.st_dev;
        delete_below(self.root.as_fd(), device, MAX_DEPTH, Some(name.as_bytes()));
        Some(kept)
    }

    /// Deletes all of it, so that its memory is free again. What remains is this program's own
    /// pages, in use for as long as it runs; returns how many bytes the file system still counts,
    /// where it counts them (a tmpfs does, a ramfs does not).
    pub fn free(&self) -> Result<u64, Fault> {
        let device = fstat(&self.root).or_fault("cannot look at", "the bootfs")?.st_dev;
        delete_below(self.root.as_fd(), device, MAX_DEPTH, None);
        let left = fstatfs(&self.root).or_fault("cannot look at", "the bootfs")?;
        Ok((left.f_blocks - left.f_bfree.min(left.f_blocks)) * left.f_bsize.unsigned_abs())
    }
}

/// Deletes everything but `kept` in `directory` that is on `device`. What cannot be deleted is a mount point,
/// or costs nothing but a little memory.
fn delete_below(directory: BorrowedFd<'_>, device: u64, depth: u32, kept: Option<&[u8]>) {
    let Ok(entries) = Dir::read_from(directory) else { return };
    for entry in entries {
        let Ok(entry) = entry else { return };
        let name = entry.file_name();
        if name == c"." || name == c".." || Some(name.to_bytes()) == kept {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            delete_directory(directory, name, device, depth);
        } else {
            let _ = unlinkat(directory, name, AtFlags::empty());
        }
    }
}

fn delete_directory(parent: BorrowedFd<'_>, name: &CStr, device: u64, depth: u32) {
    let same_device = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| stat.st_dev == device);
    if !same_device || depth == 0 {
        return;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if let Ok(directory) = openat(parent, name, flags, Mode::empty()) {
        delete_below(directory.as_fd(), device, depth - 1, None);
    }
    let _ = unlinkat(parent, name, AtFlags::REMOVEDIR);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_goes_and_links_are_not_followed() {
        let base = std::env::temp_dir().join(format!("vmrun-bootfs-{}", std::process::id()));
        let (bootfs, outside) = (base.join("bootfs"), base.join("outside"));
        std::fs::create_dir_all(bootfs.join("modules/deep")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(bootfs.join("modules/deep/a.ko"), "x").unwrap();
        std::fs::write(bootfs.join("init"), "x").unwrap();
        std::fs::write(outside.join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, bootfs.join("link")).unwrap();
        let root = open(&bootfs, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let bootfs_root = Bootfs { root };
        assert!(bootfs_root.free_but("none").is_none() && bootfs.join("modules/deep/a.ko").exists());
        assert!(bootfs_root.free_but("modules").is_some());
        assert_eq!(std::fs::read_dir(&bootfs).unwrap().count(), 1);
        assert!(bootfs.join("modules/deep/a.ko").exists());
        bootfs_root.free().unwrap();
        assert_eq!(std::fs::read_dir(&bootfs).unwrap().count(), 0);
        assert!(outside.join("kept").exists());
        std::fs::remove_dir_all(&base).unwrap();
    }
}
