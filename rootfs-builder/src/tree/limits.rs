//! How large a tree may become. A small archive can speak of very many files: each of its names may have two
//! thousand directories on its way that nobody has mentioned.

/// What all layers of an image may come to, what upper layers remove or replace included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files and directories; and as many names for them. Each takes about 150 bytes of memory, and about as many
    /// while a disk is made of the tree.
    pub files: u32,
    /// Bytes of names and of symbolic links' targets.
    pub text_bytes: u32,
    /// Bytes of sets of extended attributes that are different, and [`EACH_SET`] for each.
    pub xattr_bytes: u32,
}

/// About what a set of extended attributes takes besides its bytes.
pub const EACH_SET: u32 = 64;

impl Default for Limits {
    fn default() -> Limits {
        Limits { files: 16 << 20, text_bytes: 512 << 20, xattr_bytes: 512 << 20 }
    }
}

/// The limit that a tree has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("with it, the image's layers have over {0} files and directories, the limit")]
    Files(u32),
    #[error("with it, the image's layers have over {0} bytes of names and link targets, the limit")]
    Text(u32),
    #[error("with it, the image's layers have over {0} bytes of extended attributes, the limit")]
    Xattrs(u32),
}
