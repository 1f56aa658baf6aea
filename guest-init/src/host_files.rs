//! /etc/hosts, /etc/hostname and /etc/resolv.conf: this machine's own, over whatever the image has,
//! and in no layer.

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, open, statat};
use rustix::io::{Errno, write};
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_bind, mount_remount, move_mount,
    open_tree, unmount,
};

use crate::errno;
use crate::fault::{Fault, OrFault};
use crate::log;
use crate::mounts::mount_on;
use crate::overlay::make_bootfs_directory;

/// Where the bootfs mounts the file system that holds the files.
const FILES: &str = "/files";

const FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// The files, by where they are to be.
pub struct HostFiles(Vec<(&'static str, Source)>);

/// A file that is to be mounted.
enum Source {
    /// A mount that is not attached yet.
    Mount(OwnedFd),
    /// A file below [`FILES`], on a kernel that has no such mounts (before 5.2).
    File(OwnedFd),
}

/// Writes the files while the bootfs is still the root.
pub fn write_files(hostname: &str) -> Result<HostFiles, Fault> {
    make_bootfs_directory(FILES)?;
    mount_on("files", FILES, "tmpfs", FLAGS, "size=1m,mode=755").or_fault("cannot mount", FILES)?;
    let files = [
        ("/etc/hosts", "/files/hosts", hosts(hostname)),
        ("/etc/hostname", "/files/hostname", [hostname, "\n"].concat()),
        ("/etc/resolv.conf", "/files/resolv.conf", String::new()),
    ];
    let mut mounts = Vec::new();
    for (target, path, content) in files {
        mounts.push((target, make_file(path, &content).or_fault("cannot write", path)?));
    }
    // A file can only be mounted once more as long as the file system it is on is mounted, out of sight.
    if !mounts.iter().any(|(_, source)| matches!(source, Source::File(_))) {
        unmount(FILES, UnmountFlags::DETACH).or_fault("cannot unmount", FILES)?;
    }
    Ok(HostFiles(mounts))
}

fn make_file(path: &str, content: &str) -> Result<Source, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::from_raw_mode(0o644))?;
    // A tmpfs takes these few bytes whole.
    write(file, content.as_bytes())?;
    match open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC) {
        Err(Errno::NOSYS) => open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map(Source::File),
        mount => mount.map(Source::Mount),
    }
}

fn hosts(hostname: &str) -> String {
    let own = [
        "127.0.0.1\tlocalhost\n",
        "::1\tlocalhost ip6-localhost ip6-loopback\n",
        "fe00::\tip6-localnet\n",
        "ff00::\tip6-mcastprefix\n",
        "ff02::1\tip6-allnodes\n",
        "ff02::2\tip6-allrouters\n",
        "127.0.1.1\t",
        hostname,
        "\n",
    ];
    own.concat()
}

impl HostFiles {
    /// Attaches the files over the image's, which is the root now. An image in which one has no
    /// place (/etc is a file) goes without it.
    pub fn attach(self, read_only: bool) -> Result<(), Fault> {
        for (target, file) in self.0 {
            match attach_one(target, &file) {
                Ok(()) if read_only => {
                    let flags = FLAGS | MountFlags::BIND | MountFlags::RDONLY;
                    mount_remount(target, flags, "").or_fault("cannot make read-only", target)?;
                }
                Ok(()) => {}
                Err(error) => log::note(
                    &["the image has no place for ", target, ": ", &errno::in_words(&error)].concat(),
                ),
            }
        }
        Ok(())
    }
}

/// Mounts `file` on `target` itself: where that is a symbolic link, on the link, so that what it
/// points to is neither followed nor made.
fn attach_one(target: &str, source: &Source) -> Result<(), Errno> {
    let place = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = match open(target, place, Mode::empty()) {
        Err(Errno::NOENT) => make_place(target)?,
        place => place?,
    };
    if FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    match source {
        Source::Mount(mount) => {
            let both_open = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
            move_mount(mount, "", &place, "", both_open)
        }
        Source::File(file) => mount_bind(name_of(file), name_of(&place)),
    }
}

/// A path that leads to what is open, and is no link in the image.
fn name_of(open: &OwnedFd) -> String {
    ["/proc/self/fd/", &open.as_raw_fd().to_string()].concat()
}

fn make_place(target: &str) -> Result<OwnedFd, Errno> {
    if statat(CWD, "/etc", AtFlags::empty()).is_err() {
        rustix::fs::mkdir("/etc", Mode::from_raw_mode(0o755))?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(target, flags, Mode::from_raw_mode(0o644))?;
    open(target, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hostname_is_in_hosts() {
        let hosts = hosts("box");
        assert!(hosts.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(hosts.ends_with("127.0.1.1\tbox\n"));
    }
}
