//! The command line where no machine is needed: images and kernels come and go, mistakes are told in
//! one line.

mod crashes;
mod damage;
mod docker;
mod images;
mod kernel_archive;
mod kernel_builds;
mod kernel_packages;
mod kernels;
mod listing;
mod machines;
mod matrix;
mod mistakes;
mod modules;
mod registries;
mod saving;
mod surroundings;

use std::path::PathBuf;

/// A file that `tests/images/make` has made.
fn image_file(name: &str) -> PathBuf {
    PathBuf::from(tests::setting("VMRUN_CACHE")).join("tests/images").join(name)
}
