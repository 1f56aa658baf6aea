//! The overlay that lets a read-only file system be written: an upper layer in memory.

use rustix::fs::{Mode, mkdir};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, unmount};

use crate::fault::{Fault, OrFault};
use crate::mounts::mount_on;

/// Where the bootfs shows the merged root until it is switched to.
pub const MERGED: &str = "/merged";

const UPPER: &str = "/upper";

/// What keeps an overlay from believing what is written in its layers: redirects and metacopies in an
/// image's attributes would reach files that the image's owner did not put there. A kernel that does
/// not know one of these (or is built without it) does not obey it either, so each can be left out,
/// the last one first.
const PRECAUTIONS: [&str; 3] = [",redirect_dir=nofollow", ",metacopy=off", ",index=off"];

/// Mounts `lower` with a fresh tmpfs above it on [`MERGED`]. `limit` is the tmpfs's size in bytes; 0
/// leaves the kernel's default.
///
/// Both layers are then out of sight: the overlay alone holds them.
pub fn mount_over(lower: &str, limit: u64) -> Result<(), Fault> {
    make_bootfs_directory(UPPER)?;
    mount_on("upper", UPPER, "tmpfs", MountFlags::empty(), &upper_options(limit))
        .or_fault("cannot mount", "the writable layer")?;
    make_bootfs_directory("/upper/upper")?;
    make_bootfs_directory("/upper/work")?;
    make_bootfs_directory(MERGED)?;
    mount_merged(lower)?;
    for layer in [lower, UPPER] {
        unmount(layer, UnmountFlags::DETACH).or_fault("cannot let go of", layer)?;
    }
    Ok(())
}

fn mount_merged(lower: &str) -> Result<(), Fault> {
    let base = ["lowerdir=", lower, ",upperdir=/upper/upper,workdir=/upper/work"].concat();
    let mut refused = Errno::INVAL;
    for options in option_sets(&base, &PRECAUTIONS) {
        match mount_on("overlay", MERGED, "overlay", MountFlags::empty(), &options) {
            Ok(()) => return Ok(()),
            Err(error) => refused = error,
        }
        if refused != Errno::INVAL {
            break;
        }
    }
    Err(refused).or_fault("cannot mount", "the overlay of rootfs and writable layer")
}

/// `base` with all of `optional`, then with one less from the end, down to none.
fn option_sets(base: &str, optional: &[&str]) -> impl Iterator<Item = String> {
    (0..=optional.len()).rev().map(move |count| [base, &optional[..count].concat()].concat())
}

fn upper_options(limit: u64) -> String {
    match limit {
        0 => String::from("mode=755"),
        bytes => ["mode=755,size=", &bytes.to_string()].concat(),
    }
}

/// Makes a directory of the bootfs, where nobody else has made anything.
pub fn make_bootfs_directory(path: &str) -> Result<(), Fault> {
    match mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error).or_fault("cannot make the directory", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precautions_are_given_up_one_by_one() {
        let sets: Vec<_> = option_sets("l", &[",a", ",b"]).collect();
        assert_eq!(sets, ["l,a,b", "l,a", "l"]);
    }

    #[test]
    fn a_limit_of_zero_is_the_kernels() {
        assert_eq!(upper_options(0), "mode=755");
        assert_eq!(upper_options(1 << 30), "mode=755,size=1073741824");
    }
}
