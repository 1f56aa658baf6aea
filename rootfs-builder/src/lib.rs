//! Container images to read-only disks.
//!
//! An image comes as layers (tar archives, one above the other) and leaves as one EROFS file system that a machine
//! can be given as a disk. Nothing is unpacked to the host's file system on the way, and no privilege is needed.
//!
//! ```no_run
//! use rootfs_builder::progress::Silent;
//! use rootfs_builder::store::{LoadSource, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::open("/var/lib/vmrun".as_ref())?;
//! store.load(LoadSource::Directory("busybox-oci".into()), None, &Silent)?;
//! let image = store.resolve("busybox")?;
//! for part in image.disk().parts {
//!     println!("{} ({} bytes)", part.path.display(), part.length);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! From the outside in: [`store`] keeps images and is what a command line talks to; [`archive`] finds the images
//! in what it is given, [`reference`] says what they are called; [`layer`] turns one layer into files that are
//! part of any image that has it; [`tree`] merges layers as the OCI image specification says; [`erofs`] writes
//! the merged tree, [`ext4`] does for kernels without EROFS.

pub mod archive;
pub mod compression;
pub mod digest;
pub mod erofs;
pub mod ext4;
pub mod image;
pub mod instruction;
pub mod layer;
pub mod parallel;
pub mod progress;
pub mod reference;
pub mod store;
pub mod tree;
