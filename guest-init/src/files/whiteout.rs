//! How an overlay writes down, in its upper layer, what is gone from the one below.

use rustix::fd::BorrowedFd;
use rustix::fs::{FileType, Stat, fgetxattr};

/// In a layer of an image, a name with this before it says that the name is gone.
pub const GONE: &[u8] = b".wh.";

/// In a layer of an image, this in a directory says that nothing of the layers below is in it.
pub const ALL_GONE: &[u8] = b".wh..wh..opq";

/// Whether this stands for what was deleted.
pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether nothing of the layer below is in the directory. (`user.overlay.opaque` would say the same in
/// an overlay mounted with `userxattr`. The root's is not: there it is a program's own attribute.)
pub fn is_opaque(directory: BorrowedFd<'_>) -> bool {
    let mut value = [0; 2];
    matches!(fgetxattr(directory, "trusted.overlay.opaque", &mut value), Ok(1) if value[0] == b'y')
}

/// Whether an extended attribute is the files', and not what the overlay notes for itself.
pub fn is_for_others(name: &[u8]) -> bool {
    !name.starts_with(b"trusted.overlay.")
}
