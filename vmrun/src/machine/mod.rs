//! Machines: what they are asked to be, what has become of them, how each is planned from an image and a kernel and
//! run by a monitor process.

mod attached_rootfs;
mod capabilities;
mod collection;
mod command_line;
mod config;
mod directory;
mod event;
mod fit;
pub mod helper_machine;
mod id;
mod inquiry;
mod kernel_log;
pub mod monitor;
mod name;
mod outcome;
mod output_log;
mod plan;
mod process;
mod processors;
mod resources;
pub mod restart;
mod stamp_lines;
mod state;
mod streams;
mod terminal;
mod text;
mod timing;
mod variables;

mod upper;

pub use collection::{MachineSummary, Machines};
pub use config::{MachineConfig, UpperConfig, init_of, signal_number};
pub use directory::{MachineDirectory, MachineLock};
pub use event::{Event, Place as EventPlace, now as monotonic_time, tell_events};
pub use fit::{ChannelChoice, FormatChoice, Transport, silence, usual};
pub use helper_machine::HelperMachine;
pub use id::{MachineId, fill_random};
pub use inquiry::inquire;
pub use kernel_log::KernelLog;
pub use monitor::Monitor;
pub use outcome::{Ending, Outcome};
pub use output_log::{LogReader, LogRecord, LogStream, LogWriter};
pub use plan::plan;
pub use process::{arguments, environment};
pub use processors::Processors;
pub use resources::Resources;
pub use state::{State, Status};
pub use streams::{connect, connect_within, copy_output};
pub use terminal::{RawMode, window_size};
pub use timing::Timing;
pub use upper::check_size;
pub use variables::Variables;
