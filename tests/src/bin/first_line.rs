//! The least that can be started: the only program of an initramfs, which writes one line to the
//! console and switches the machine off. What a start is compared with.

use std::process::ExitCode;

use rustix::system::{RebootCommand, reboot};

fn main() -> ExitCode {
    println!("hello");
    // Returns only when it is not the first process of a machine.
    match reboot(RebootCommand::PowerOff) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
