//! A kernel's modules: which there are, what they depend on, and the archive a machine loads.

mod archive;
mod boot;
mod disk;
mod index;
mod modinfo;
mod order;
mod room;
mod signature;
mod tree;
mod unpacked;

use std::io;
use std::path::PathBuf;

pub use archive::write as write_archive;
pub use boot::keep_for_boot;
pub use disk::{DiskMaker, make_disk};
pub use order::load_order;
pub use signature::Signatures;
pub use tree::{ModuleTree, is_file_of_interest};

/// The largest module that is accepted, unpacked, in bytes.
pub const MODULE_LIMIT: u64 = 256 << 20;

/// All of a kernel's modules, in bytes, as for a package's files. Debian's generic kernel has less than a sixteenth.
const ALL_LIMIT: u64 = 8 << 30;
/// All modules that a start loads, in bytes: a machine keeps them in memory. Debian's generic kernel has 4 MiB of them.
const BOOT_LIMIT: u64 = 256 << 20;

/// Why modules could not be read or put in order.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the module {name} is missing: it is neither built in nor among the kernel's modules")]
    Missing { name: String },
    #[error("the module {name} is missing, which {needed_by} depends on")]
    MissingDependency { name: String, needed_by: String },
    #[error("the modules {0} depend on each other in a circle")]
    Circle(String),
    #[error(
        "the path {path:?} of a module has a character that no index of modules can hold: only visible ASCII ones but \
         the colon"
    )]
    Name { path: PathBuf },
    #[error("its modules say more of themselves (aliases, symbols, dependencies) than any real ones do")]
    TooMuch,
    #[error("{what} have more than {} MiB, unpacked", limit >> 20)]
    Large { what: &'static str, limit: u64 },
    #[error("cannot make the disk of its modules: {0}")]
    Disk(#[source] io::Error),
    #[error("the module {} is damaged: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

#[cfg(test)]
mod tests;
