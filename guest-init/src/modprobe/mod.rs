//! guest-init as the kernel's modprobe: what the kernel asks for by itself (a file system that is mounted, a socket
//! of a family, a device that is opened) is found in the index on the modules disk, and loaded.
//!
//! The kernel runs `/proc/PID/exe -q -- NAME`, PID being that guest-init which holds the disk (see `modules_disk`).
//! So nothing of the image is needed, and nothing in it is in the way; but what its modprobe.d says is heeded.

mod load;
mod pattern;
mod resolve;
mod rules;
mod trie;

use std::ffi::c_int;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::modules_disk::DIRECTORY;
use resolve::Resolver;
use rules::Rules;

/// The words before the name, as the kernel gives them.
const WORDS: [&[u8]; 2] = [b"-q", b"--"];

/// The body of the process, as which program it was called and with what; `None` if it is not the kernel's call.
pub fn run(program: &[u8], words: &[&[u8]]) -> Option<c_int> {
    let [first, second, name] = words else { return None };
    if [*first, *second] != WORDS {
        return None;
    }
    let loaded = str::from_utf8(name).ok().is_some_and(|name| serve(program, name).unwrap_or(false));
    Some(if loaded { 0 } else { 1 })
}

/// Whether all that `name` stands for is there now.
fn serve(program: &[u8], name: &str) -> Result<bool, Errno> {
    let disk = disk(program)?;
    let rules = Rules::read(&disk);
    Ok(Resolver::new(&disk, &rules).request(name))
}

/// The disk's directory, which the guest-init that this program is a copy of holds open.
fn disk(program: &[u8]) -> Result<OwnedFd, Errno> {
    let holder = program.strip_suffix(b"/exe").ok_or(Errno::INVAL)?;
    let path = [holder, b"/fd/", DIRECTORY.to_string().as_bytes()].concat();
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A module's name or alias as it is looked up: dashes are underscores, except in brackets.
fn with_underscores(name: &str) -> String {
    let mut in_brackets = false;
    let letters = name.chars().map(|letter| {
        in_brackets = (in_brackets || letter == '[') && letter != ']';
        if letter == '-' && !in_brackets { '_' } else { letter }
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_call_is_answered() {
        assert_eq!(run(b"/proc/1/exe", &[b"--help"]), None);
        assert_eq!(run(b"/proc/1/exe", &[b"-q", b"-r", b"x"]), None);
        assert_eq!(run(b"init", &[b"-q", b"--", b"ext4"]), Some(1));
    }

    #[test]
    fn dashes_stay_in_brackets() {
        assert_eq!(with_underscores("net-pf-[0-9]-x"), "net_pf_[0-9]_x");
    }
}
