//! A machine's life: planned from an image and a kernel, run by a monitor process, attended by
//! this one until its command ends.

mod attached_rootfs;
mod attendance;
mod command_line;
mod event;
mod exec;
mod kernel_log;
pub mod monitor;
mod outcome;
mod plan;
mod process;
mod record;
mod streams;
mod terminal;
mod timing;
mod variables;

pub use attendance::Attendance;
pub use event::now as monotonic_time;
pub use exec::exec;
pub use kernel_log::KernelLog;
pub use outcome::exit_code;
pub use plan::plan;
pub use process::process;
pub use record::{MachineId, Record, fill_random};
pub use streams::connect;
pub use terminal::{RawMode, window_size};
pub use timing::Timing;
pub use variables::Variables;
