//! Layers against the reference and the kernel: generated stacks of layers are unpacked by umoci and, through
//! this crate, mounted as EROFS; every path must look the same in both.
//!
//! Needs root, loop devices, umoci and fsck.erofs; without them these tests fail.

mod archive;
mod disk;
mod generate;
mod reference;
mod snapshot;

mod against_umoci;
mod by_hand;
mod hard_links;
mod hostile;
mod marks;
