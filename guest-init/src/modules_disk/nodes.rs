//! Device nodes whose first use loads a module, as the index lists them.

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, chmodat, makedev, mkdir, mknodat, openat};
use rustix::io::{Errno, read};

use crate::log;

const LIST: &str = "modules.devname";

/// Open to everybody, as udev has them: their drivers look at who uses them. The others are root's.
const OPEN: [&str; 2] = ["fuse", "net/tun"];

/// Makes them in /dev. Real lists have some twenty.
pub fn make(disk: &OwnedFd) {
    let mut list = [0; 16 << 10];
    let count = openat(disk, LIST, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| read(&file, &mut list))
        .unwrap_or(0);
    for line in String::from_utf8_lossy(&list[..count]).lines().filter_map(node) {
        if let Err(error) = make_node(&line)
            && error != Errno::EXIST
        {
            log::note(&["cannot make /dev/", line.name].concat());
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Node<'a> {
    name: &'a str,
    kind: FileType,
    major: u32,
    minor: u32,
}

/// `tun net/tun c10:200`.
fn node(line: &str) -> Option<Node<'_>> {
    let mut words = line.split(' ').skip(1);
    let (name, device) = (words.next()?, words.next()?);
    let (kind, numbers) = match device.strip_prefix('c') {
        Some(numbers) => (FileType::CharacterDevice, numbers),
        None => (FileType::BlockDevice, device.strip_prefix('b')?),
    };
    let (major, minor) = numbers.split_once(':')?;
    let is_below = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    is_below.then_some(Node { name, kind, major: major.parse().ok()?, minor: minor.parse().ok()? })
}

fn make_node(node: &Node<'_>) -> Result<(), Errno> {
    let path = ["/dev/", node.name].concat();
    for (at, _) in node.name.match_indices('/') {
        match mkdir(&path[.."/dev/".len() + at], Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    mknodat(CWD, &path, node.kind, Mode::from_raw_mode(0o600), makedev(node.major, node.minor))?;
    if OPEN.contains(&node.name) {
        chmodat(CWD, &path, Mode::from_raw_mode(0o666), rustix::fs::AtFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_nodes_below_dev() {
        let tun = Node { name: "net/tun", kind: FileType::CharacterDevice, major: 10, minor: 200 };
        assert_eq!(node("tun net/tun c10:200"), Some(tun));
        for line in ["# Device nodes to trigger", "x ../y c1:1", "x /y c1:1", "x y z1:1", "x y c1"] {
            assert_eq!(node(line), None, "{line}");
        }
    }
}
