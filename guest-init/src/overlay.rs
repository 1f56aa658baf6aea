//! The overlay that lets a read-only file system be written: a writable layer above it.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, mkdir, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, unmount};

use crate::fault::{Fault, OrFault};
use crate::modules_disk::Place;
use crate::mounts::mount_on;

/// Where the bootfs shows the merged root until it is switched to.
pub const MERGED: &str = "/merged";

/// Where the bootfs mounts the file system that the writable layer is on.
pub const UPPER: &str = "/upper";

/// The layers of a root, beside the overlay that shows them as one: what the machine has changed, and
/// the image as it was. Descriptors of directories that can be walked from, and nothing else.
pub struct Layers {
    pub upper: OwnedFd,
    pub lower: OwnedFd,
    /// Directories that are in the root because of guest-init, in neither layer, from the outside in.
    pub places: Vec<String>,
}

/// What keeps an overlay from believing what is written in its layers: redirects and metacopies in an
/// image's attributes would reach files that the image's owner did not put there. A kernel that does
/// not know one of these (or is built without it) does not obey it either, so each can be left out,
/// the last one first.
const PRECAUTIONS: [&str; 3] = [",redirect_dir=nofollow", ",metacopy=off", ",index=off"];

/// Mounts a fresh tmpfs for the writable layer on [`UPPER`]. `limit` is its size in bytes; 0 leaves the
/// kernel's default.
pub fn mount_memory(limit: u64) -> Result<(), Fault> {
    make_bootfs_directory(UPPER)?;
    mount_on("upper", UPPER, "tmpfs", MountFlags::empty(), &upper_options(limit))
        .or_fault("cannot mount", "the writable layer")
}

/// Mounts `lower` with what is on [`UPPER`] above it on [`MERGED`]. The directories on a disk that has
/// been used before are there; the kernel empties the one it works in.
///
/// `place`, if there is one, is below both. All are then out of sight: the overlay and what is returned alone hold
/// them.
pub fn merge(lower: &str, place: Option<Place>) -> Result<Layers, Fault> {
    make_bootfs_directory("/upper/upper")?;
    make_bootfs_directory("/upper/work")?;
    make_bootfs_directory(MERGED)?;
    let below = place.as_ref().map(Place::option).unwrap_or_default();
    mount_merged(&[lower, &below].concat())?;
    if let Some(place) = &place {
        place.hide()?;
    }
    let places = place.map(|place| place.directories).unwrap_or_default();
    let layers = Layers { upper: directory("/upper/upper")?, lower: directory(lower)?, places };
    for layer in [lower, UPPER] {
        unmount(layer, UnmountFlags::DETACH).or_fault("cannot let go of", layer)?;
    }
    Ok(layers)
}

/// Opens a directory to be walked from, and nothing else.
pub fn directory(path: &str) -> Result<OwnedFd, Fault> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).or_fault("cannot open", path)
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
