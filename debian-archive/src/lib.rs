//! Debian's archive: what is in it, and its packages, without apt and without installing anything.
//!
//! The chain of trust is apt's. A suite's `InRelease` is signed by a key of the host's keyring (`gpgv` looks at
//! that); it has the SHA-256 of the suite's list of packages, and that has the SHA-256 of every package. Nothing is
//! used before it was checked, so it does not matter who hands it over, and mirrors without TLS will do.
//!
//! ```no_run
//! use debian_archive::{Archive, Options, Silent};
//!
//! # fn main() -> Result<(), debian_archive::Error> {
//! let archive = Archive::open("/var/cache/vmrun".as_ref(), Options::of_host())?;
//! let (package, _) = archive.find_source("linux-source-6.12", &Silent)?;
//! let path = archive.download(&package, "/tmp".as_ref(), &Silent)?;
//! # Ok(()) }
//! ```

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod archive;
mod error;
mod gpgv;
mod hash;
mod host;
mod kernel;
mod kernel_parts;
mod package;
mod release;
mod release_cache;
mod signature;
mod source_package;
mod sources_list;
mod stanza;
mod version;
mod wanted;

pub use archive::{Archive, Progress, Silent};
pub use error::Error;
pub use host::Options;
pub use kernel_parts::KernelPackages;
pub use package::Package;
pub use version::Version;
pub use wanted::{Flavour, Wanted};

/// What comes of asking the archive.
pub type Result<T> = std::result::Result<T, Error>;
