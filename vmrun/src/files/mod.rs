//! Files between this host and a machine.
//!
//! guest-init reads and makes them at the machine's side ([`Guest`] asks it), the crate `file-tree` at
//! this one; both say what there is in the same stream of entries. Archives exist on this side alone:
//! [`TarStream`] makes one of entries, [`send_archive`] entries of one.

mod archive;
mod guest;
mod local;
mod machine;
mod place;
mod tar_header;
mod tar_stream;

pub use archive::send_archive;
pub use guest::Guest;
pub use local::{receive, send};
pub use machine::OpenMachine;
pub use place::{Destination, Place, SourceName};
pub use tar_stream::TarStream;
