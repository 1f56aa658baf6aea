//! Container images to root file system disks.

pub mod erofs;
pub mod layer;
pub mod tree;
