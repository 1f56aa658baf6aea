//! A place to mount the modules on, which few images have. It is a layer below the image: so nothing of it is in the
//! writable layer, and it is there when that cannot be written.

use rustix::fs::{AtFlags, CWD, FileType, readlinkat, statat};
use rustix::mount::{MountFlags, UnmountFlags, unmount};

use crate::fault::{Fault, OrFault};
use crate::mounts::mount_on;
use crate::overlay::{self, make_bootfs_directory};

const LAYER: &str = "/place";

/// The layer, while it is being made part of an overlay.
pub struct Place {
    /// The directories in it, from the outside in, below the root.
    pub directories: Vec<String>,
}

impl Place {
    /// Makes it for an image mounted on `lower` and the writable layer on [`overlay::UPPER`].
    pub fn make(lower: &str) -> Result<Place, Fault> {
        let mut directories = Vec::new();
        let mut path = String::new();
        // Where /lib is a link in the root, what is behind it.
        let library = match link_of(&[overlay::UPPER, "/upper/lib"].concat()) {
            Found::Nothing => link_of(&[lower, "/lib"].concat()),
            found => found,
        };
        let parts = match &library {
            Found::Link(target) => target.as_str(),
            _ => "lib",
        };
        let version = super::version();
        make_bootfs_directory(LAYER)?;
        mount_on("place", LAYER, "tmpfs", MountFlags::empty(), "size=64k,mode=755")
            .or_fault("cannot mount", LAYER)?;
        for part in parts.split('/').filter(|part| !part.is_empty()).chain(["modules", &version]) {
            path.push('/');
            path.push_str(part);
            make_bootfs_directory(&[LAYER, &path].concat())?;
            directories.push(path.trim_start_matches('/').to_owned());
        }
        Ok(Place { directories })
    }

    /// Its part of an overlay's `lowerdir=`, behind the image's.
    pub fn option(&self) -> String {
        [":", LAYER].concat()
    }

    /// Lets go of it: the overlay alone holds it then.
    pub fn hide(&self) -> Result<(), Fault> {
        unmount(LAYER, UnmountFlags::DETACH).or_fault("cannot let go of", LAYER)
    }
}

enum Found {
    Nothing,
    Link(String),
    Other,
}

/// What is at `path`, with a link's target if that is a plain one below the root.
fn link_of(path: &str) -> Found {
    let Ok(stat) = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) else { return Found::Nothing };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return Found::Other;
    }
    let target = readlinkat(CWD, path, Vec::new()).ok().and_then(|target| target.into_string().ok());
    match target.filter(|target| target.split('/').all(|part| !matches!(part, "." | ".."))) {
        Some(target) => Found::Link(target),
        None => Found::Other,
    }
}
