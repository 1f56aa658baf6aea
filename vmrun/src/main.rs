//! `vmrun`: container images in micro-VMs of their own, on the kernel you choose.

mod age;
mod arguments;
mod commands;
mod emulate;
mod filter;
mod hardware;
mod home;
mod machine;
mod output;
mod progress;
mod size;
mod whole_file;

use std::process::ExitCode;

/// The exit code of whatever goes wrong on our side, as Docker's is.
const FAILED: u8 = 125;

fn main() -> ExitCode {
    match commands::dispatch(arguments::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::from(FAILED)
        }
    }
}
