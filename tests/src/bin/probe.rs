//! A static program for images: what no shell can tell about a machine from inside.

use std::process::ExitCode;

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["dax", path] => dax(path),
        ["trap"] => trap(),
        _ => {
            eprintln!("probe dax PATH | probe trap");
            ExitCode::from(2)
        }
    }
}

/// Prints whether the file is accessed without a page cache of the guest's own.
fn dax(path: &str) -> ExitCode {
    match statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS) {
        Ok(stat) => {
            println!("dax {}", stat.stx_attributes.contains(StatxAttributes::DAX));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("probe: {path}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends by SIGILL, which the kernel forces upon a PID 1 too.
fn trap() -> ! {
    // SAFETY: the instruction has no operands; it raises an exception, and nothing comes after it.
    unsafe { std::arch::asm!("ud2", options(noreturn)) }
}
