//! `vmrun`: container images in micro-VMs of their own, on the kernel you choose.

mod age;
mod arguments;
mod commands;
mod detached;
mod emulate;
mod files;
mod filter;
mod hardware;
mod home;
mod machine;
mod output;
// Until machines have supervisors to be started there.
#[allow(dead_code)]
mod place;
mod progress;
mod size;
mod whole_file;

use std::process::ExitCode;

/// The exit code of whatever goes wrong on our side, as Docker's is.
const FAILED: u8 = 125;

fn main() -> ExitCode {
    // Before anything of the command line is built, which a monitor would keep in memory for nothing.
    let is_monitor = std::env::args_os().skip(1).eq([machine::monitor::WORD]);
    let done = match is_monitor {
        true => machine::monitor::main(),
        false => commands::dispatch(arguments::parse()),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::from(FAILED)
        }
    }
}
