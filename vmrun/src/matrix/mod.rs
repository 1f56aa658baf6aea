//! `vmrun matrix`: images on kernels, each cell a machine of its own.
//!
//! What to run is put together from the command line and a [`file`](mod@file) into a [`Plan`]; a [`Runner`] runs its
//! cells, several at a time, each as a [`trial`] that leaves its output and its kernel's log in the [`Folder`]; a
//! [`Live`] table shows how far it is, and a [`report`] what came of it. [`bisect`] chooses cells one after another.

pub mod bisect;
mod cell;
mod file;
mod folder;
mod interruption;
mod live;
mod output;
mod plan;
pub mod report;
mod run;
mod table;
mod trial;

pub use cell::Verdict;
pub use file::{DEFAULT_FILE, Sheet};
pub use folder::Folder;
pub use interruption::Interruption;
pub use live::Live;
pub use plan::{KernelChoice, Plan, check_words, chosen};
pub use run::{Runner, Trials, jobs};
