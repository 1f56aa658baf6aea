//! A static program for images: what no shell can tell about a machine from inside.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use guest_protocol::STAMP_PORT;
use libc::O_DIRECT;
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["dax", path] => dax(path),
        ["read", path] => read(path),
        ["direct", from, to] => direct(from, to),
        ["stamp"] => stamp(),
        ["trap"] => trap(),
        _ => {
            eprintln!(
                "probe dax PATH | probe read DIRECTORY | probe direct FROM TO | probe stamp | probe trap"
            );
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

/// Reads a byte of every page of every file below a directory, through a mapping, which needs no copy. Prints how many
/// KiB that were, how many in directories and in files without DAX, and by how many the guest's page cache has grown.
fn read(directory: &str) -> ExitCode {
    let before = cached();
    match read_all(Path::new(directory)) {
        Ok((all, copied)) => {
            println!("all {all}\ncopied {copied}\ngrowth {}", cached().saturating_sub(before));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("probe: {directory}: {error}");
            ExitCode::FAILURE
        }
    }
}

const PAGE: u64 = 4096;

/// KiB of files, as pages, and KiB of directories and of files without DAX.
fn read_all(directory: &Path) -> io::Result<(u64, u64)> {
    let device = fs::symlink_metadata(directory)?.dev();
    let (mut all, mut copied) = (0, 0);
    let mut directories: Vec<PathBuf> = vec![directory.into()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            let kibibytes = metadata.len().next_multiple_of(PAGE) / 1024;
            if metadata.is_dir() && metadata.dev() == device {
                // The kernel has DAX for regular files only.
                copied += kibibytes;
                directories.push(path);
            } else if metadata.is_file() && metadata.len() > 0 {
                all += kibibytes;
                let stat = statx(CWD, &path, AtFlags::empty(), StatxFlags::BASIC_STATS)?;
                if !stat.stx_attributes.contains(StatxAttributes::DAX) {
                    copied += kibibytes;
                }
                touch(&File::open(&path)?, metadata.len() as usize)?;
            }
        }
    }
    Ok((all, copied))
}

fn touch(file: &File, length: usize) -> io::Result<()> {
    // SAFETY: a new mapping at an address of the kernel's choice, of a file that nobody changes, as long as the file;
    // it is read within its length and gone before anybody else knows of it.
    unsafe {
        let address = mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, 0)?;
        for at in (0..length).step_by(PAGE as usize) {
            address.cast::<u8>().add(at).read_volatile();
        }
        Ok(munmap(address, length)?)
    }
}

/// Writes a file's whole pages to a new one, straight from a mapping of the first to the disk of the second, which is
/// what O_DIRECT means.
fn direct(from: &str, to: &str) -> ExitCode {
    match write_directly(from, to) {
        Ok(length) => {
            println!("direct {length}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("probe: {from} to {to}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write_directly(from: &str, to: &str) -> io::Result<usize> {
    let from = File::open(from)?;
    let length = (from.metadata()?.len() / PAGE * PAGE) as usize;
    let to = OpenOptions::new().write(true).create_new(true).custom_flags(O_DIRECT).open(to)?;
    // SAFETY: a new mapping at an address of the kernel's choice, of a file that nobody changes, not longer than it;
    // it is read within its length and never undone.
    let bytes = unsafe {
        let address = mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, &from, 0)?;
        std::slice::from_raw_parts(address.cast::<u8>(), length)
    };
    (&to).write_all(bytes)?;
    to.sync_all()?;
    Ok(length)
}

/// KiB of files in the guest's memory.
fn cached() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    field("Cached:").unwrap_or(0)
}

/// Tells the host how far the machine has come, in every way that a byte can, without end.
fn stamp() -> ExitCode {
    // SAFETY: takes numbers, and lets this process write to one port, behind which there is no memory.
    if unsafe { libc::ioperm(STAMP_PORT.into(), 1, 1) } != 0 {
        eprintln!("probe: port {STAMP_PORT:#x}: {}", io::Error::last_os_error());
        return ExitCode::FAILURE;
    }
    println!("stamping");
    for byte in (0..=u8::MAX).cycle() {
        // SAFETY: the port is one that we may write to; the monitor listens there.
        unsafe { std::arch::asm!("out dx, al", in("dx") STAMP_PORT, in("al") byte, options(nomem, nostack)) };
    }
    ExitCode::SUCCESS
}

/// Ends by SIGILL, which the kernel forces upon a PID 1 too.
fn trap() -> ! {
    // SAFETY: the instruction has no operands; it raises an exception, and nothing comes after it.
    unsafe { std::arch::asm!("ud2", options(noreturn)) }
}
