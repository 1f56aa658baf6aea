//! The bootfs: kernels, what they can do, and the modules a machine loads.
//!
//! A [`KernelStore`] keeps kernels that were added from a Debian package, a kernel image or a
//! directory. Each is stored unpacked, with its modules as they were shipped, and knows its
//! [`Abilities`]:
//!
//! ```no_run
//! # fn main() -> Result<(), kernels::Error> {
//! let store = kernels::KernelStore::open("/var/lib/vmrun/kernels".as_ref())?;
//! let kernel = store.add(
//!     &["linux-image-6.1.0-56-cloud-amd64_6.1.192-2_amd64.deb".into()],
//!     &kernels::Addition::default(),
//!     &|_| (),
//! )?;
//! println!("{kernel}");
//! let vmlinux = &kernel.vmlinux;
//! let needs = kernels::MACHINE_WITH_PMEM;
//! let initramfs_begins_with = kernel.modules_archive(needs, kernels::LATER, kernels::Signatures::Dropped)?;
//! # Ok(()) }
//! ```

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod ability;
mod bounded;
pub mod build;
mod compression;
mod config;
pub mod cpio;
mod feature;
#[cfg(test)]
mod fixtures;
mod image;
mod kernel;
mod lz4_legacy;
mod lzop;
mod modules;
mod source;
mod staging;
mod store;
mod sums;

pub use ability::{Abilities, Ability};
pub use config::ConfigSource;
pub use feature::{EMULATED_HOST, Feature, LATER, MACHINE_WITH_BLOCK, MACHINE_WITH_PMEM};
pub use image::Error as ImageError;
pub use kernel::{Description, Kernel};
pub use modules::{DiskMaker, Error as ModulesError, Signatures};
pub use source::{Entry, EntryKind, Error as SourceError, FileTree, Origin, Provenance, Source};
pub use store::{Addition, Error, KernelStore, Scratch, Step};
