//! A client of container registries (OCI distribution specification 1.1, Docker's token authentication).
//!
//! Blocking, and meant to be used from several threads at once: a [`Repository`] hands out documents and streams of
//! blobs, and takes images. What is kept where is not its business; it implements
//! [`rootfs_builder::store::Remote`], by which a store pulls.
//!
//! Everything that a registry says is bounded: documents by size, redirects and retries by number, connections by
//! time without progress.
//!
//! ```no_run
//! use registry::{Credentials, Options, Registry};
//! use rootfs_builder::progress::Silent;
//! use rootfs_builder::reference::Reference;
//! use rootfs_builder::store::Store;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let name: Reference = "quay.io/fedora/fedora".parse()?;
//! let registry = Registry::new(name.registry(), Credentials::of_user(), Options::default())?;
//! let store = Store::open("/var/lib/vmrun".as_ref())?;
//! store.pull(&registry.repository(name.repository()), &name, &Default::default(), &Silent)?;
//! # Ok(())
//! # }
//! ```

mod authorization;
mod blob;
mod challenge;
mod client;
mod credentials;
mod error;
mod header;
mod host;
mod http;
mod patience;
mod repository;
mod token;
mod upload;
mod web;

pub use client::{Options, Registry};
pub use credentials::{Credentials, Login, Stored};
pub use error::Error;
pub use host::Host;
pub use patience::Patience;
pub use repository::Repository;
pub use web::{Document, Validators, Web};

/// What comes of talking to a registry.
pub type Result<T> = std::result::Result<T, Error>;
