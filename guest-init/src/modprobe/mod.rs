//! guest-init as modprobe: what the kernel asks for by itself (a file system that is mounted, a socket of a family, a
//! device that is opened) is found in the index on the modules disk, and loaded.
//!
//! The kernel runs `/lib/modules/VERSION/modprobe -q -- NAME` (see `modules_disk`). So nothing of the image is needed,
//! and nothing in it is in the way; but what its modprobe.d says is heeded. Programs that load modules themselves ask
//! the kernel for that path, too, and give a name in their own order (iptables: `NAME -q`).

mod load;
mod name;
mod pattern;
mod resolve;
mod rules;
mod trie;

use std::ffi::c_int;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::{chdir, chroot};

use resolve::Resolver;
use rules::Rules;

/// The root of PID 1.
const ROOT: &str = "/proc/1/root";

/// Words that change nothing.
const WORDS: [&[u8]; 3] = [b"-q", b"--quiet", b"--"];

/// The body of the process, as the program it was called as; `None` if that is not modprobe.
pub fn run(program: &[u8], words: &[&[u8]]) -> Option<c_int> {
    let directory = program.strip_suffix(b"/modprobe")?;
    let names: Vec<&[u8]> = words.iter().copied().filter(|word| !WORDS.contains(word)).collect();
    let are_names = !names.is_empty() && names.iter().all(|name| !name.starts_with(b"-"));
    let loaded = are_names && serve(directory, &names).unwrap_or(false);
    Some(if loaded { 0 } else { 1 })
}

/// Whether all that the names stand for is there now.
fn serve(directory: &[u8], names: &[&[u8]]) -> Result<bool, Errno> {
    let disk = open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    enter_root();
    let rules = Rules::read(&disk);
    let mut resolver = Resolver::new(&disk, &rules);
    // Every one of them, whatever becomes of the others.
    Ok(names
        .iter()
        .map(|name| str::from_utf8(name).is_ok_and(|name| resolver.request(name)))
        .fold(true, |all, one| all & one))
}

/// Where the kernel runs programs in the bootfs (see `wall`), there is nothing else: PID 1 is in the root that is meant.
fn enter_root() {
    if !std::fs::exists("/proc/self").unwrap_or(true) && chroot(ROOT).is_ok() {
        let _ = chdir("/");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_as_modprobe_it_loads_modules() {
        assert_eq!(run(b"/init", &[b"-q", b"--", b"ext4"]), None);
        assert_eq!(run(b"/nonexistent/modprobe", &[b"-q", b"--", b"ext4"]), Some(1));
        assert_eq!(run(b"/lib/modules/modprobe", &[b"-r", b"ext4"]), Some(1));
    }
}
