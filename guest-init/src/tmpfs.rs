//! The file systems in memory that a machine was asked to have.

use guest_protocol::Tmpfs;
use rustix::fs::{AtFlags, CWD, statat};
use rustix::mount::MountFlags;

use crate::fault::{Fault, OrFault};
use crate::mounts::{make_directories, mount_on};

/// What Docker's have, unless they are asked not to.
const DEFAULTS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Mounts one over the root; a directory that is there lends it its permissions.
pub fn mount(tmpfs: &Tmpfs) -> Result<(), Fault> {
    let path = tmpfs.path.as_str();
    let mode = statat(CWD, path, AtFlags::empty()).ok().map(|stat| stat.st_mode & 0o7777);
    make_directories(path.as_bytes()).or_fault("cannot make the directory", path)?;
    let (flags, mut options) = options(&tmpfs.options);
    if let Some(mode) = mode.filter(|_| !options.split(',').any(|option| option.starts_with("mode="))) {
        options = ["mode=0", &octal(mode), if options.is_empty() { "" } else { "," }, &options].concat();
    }
    mount_on("tmpfs", path, "tmpfs", flags, &options).or_fault("cannot mount the tmpfs", path)
}

/// The flags of a mount, and what is left for the file system.
fn options(text: &str) -> (MountFlags, String) {
    let (mut flags, mut rest) = (DEFAULTS, Vec::new());
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => flags |= MountFlags::RDONLY,
            "rw" => flags -= MountFlags::RDONLY,
            "nosuid" => flags |= MountFlags::NOSUID,
            "suid" => flags -= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "dev" => flags -= MountFlags::NODEV,
            "noexec" => flags |= MountFlags::NOEXEC,
            "exec" => flags -= MountFlags::NOEXEC,
            "sync" => flags |= MountFlags::SYNCHRONOUS,
            "async" => flags -= MountFlags::SYNCHRONOUS,
            "noatime" => flags |= MountFlags::NOATIME,
            "atime" => flags -= MountFlags::NOATIME,
            "nodiratime" => flags |= MountFlags::NODIRATIME,
            "diratime" => flags -= MountFlags::NODIRATIME,
            "relatime" => flags |= MountFlags::RELATIME,
            "norelatime" => flags -= MountFlags::RELATIME,
            "strictatime" => flags |= MountFlags::STRICTATIME,
            "defaults" => {}
            _ => rest.push(option),
        }
    }
    (flags, rest.join(","))
}

fn octal(mut number: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(b'0' + (number % 8) as u8);
        number /= 8;
        if number == 0 {
            break;
        }
    }
    digits.reverse();
    String::from_utf8(digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_told_from_what_the_file_system_takes() {
        assert_eq!(options(""), (DEFAULTS, String::new()));
        let (flags, rest) = options("rw,exec,size=64m,mode=1770,ro");
        assert_eq!(flags, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RDONLY);
        assert_eq!(rest, "size=64m,mode=1770");
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!((octal(0o1777), octal(0)), ("1777".into(), "0".into()));
    }
}
