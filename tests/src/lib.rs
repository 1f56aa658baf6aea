//! What the end-to-end tests are written with.
//!
//! A test says what it runs (`machine("busybox").shell("exit 42")`), and looks at the [`Outcome`].
//! Nothing here waits for ever: a command that does not end in time is ended, and the test fails
//! with what the command said and what the kernels of the machines that still run have logged.
//!
//! `scripts/test` makes the images and kernels that [`machine`] finds, and runs the tests on a
//! machine that has KVM (where this host has none, an emulated one).

mod command;
mod detached;
pub mod docker_registry;
pub mod kernel_features;
mod kernel_log;
mod lesser_kernel;
mod process;
mod record;
mod sharing;
mod terminal;
mod user;

pub use command::{Command, machine, recorded_machine, vmrun};
pub use detached::Detached;
pub use docker_registry::DockerRegistry;
pub use lesser_kernel::LesserKernel;
pub use process::{Outcome, Running, child_of, monitor_of, supervisor_of};
pub use record::Record;
pub use sharing::{Measured, Share, Store};
pub use terminal::Terminal;
pub use user::User;

/// The kernels of the tests' store: Debian's stable one, and a newer one.
pub const KERNEL: &str = "debian";
pub const NEWER_KERNEL: &str = "newer";
/// What `vmrun kernel build` makes.
pub const OWN_KERNEL: &str = "own";

/// The value of an environment variable that `scripts/test` sets.
pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: these tests are run by `make test`"))
}
