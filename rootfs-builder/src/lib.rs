//! Container images to read-only disks: names, archives, the image store, layers and EROFS.

pub mod archive;
pub mod compression;
pub mod digest;
pub mod erofs;
pub mod image;
pub mod layer;
pub mod progress;
pub mod reference;
pub mod store;
pub mod tree;
