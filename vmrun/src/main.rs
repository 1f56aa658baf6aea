//! `vmrun`: container images in micro-VMs of their own, on the kernel you choose.

// See `output`: what these print to may be gone.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod age;
mod arguments;
mod client;
mod commands;
mod detached;
mod emulate;
mod events;
mod files;
mod filter;
mod hardware;
mod home;
mod machine;
mod matrix;
mod modules_disk;
mod output;
mod place;
mod process_memory;
mod progress;
mod signals;
mod size;
mod supervisor;
mod whole_file;

use std::process::ExitCode;

/// The exit code of whatever goes wrong on our side, as Docker's is.
const FAILED: u8 = 125;

fn main() -> ExitCode {
    // Before anything of the command line is built, which a monitor or supervisor would keep in memory for nothing.
    let words = || std::env::args_os().skip(1);
    let done = if words().eq([machine::monitor::WORD]) {
        machine::monitor::main()
    } else if let Some(order) = supervisor::Order::parse(words()) {
        supervisor::main(&order)
    } else if let Some(order) = machine::helper_machine::Order::parse(words()) {
        machine::helper_machine::main(&order)
    } else {
        commands::dispatch(arguments::parse())
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) if output::has_reader_left(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::from(FAILED)
        }
    }
}
