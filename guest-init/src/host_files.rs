//! /etc/hosts, /etc/hostname and /etc/resolv.conf: this machine's own, over whatever the image has,
//! and in no layer.

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, open, statat};
use rustix::io::{Errno, write};
use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};

use crate::errno;
use crate::fault::{Fault, OrFault};
use crate::log;
use crate::mounts::{mount_on, name_of};
use crate::overlay::{directory, make_bootfs_directory};

/// Where the bootfs mounts the file system that holds the files.
const FILES: &str = "/files";

const FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// The files, by where they are to be.
pub struct HostFiles {
    files: Vec<(&'static str, OwnedFd)>,
    /// What they are on. A file can only be mounted once more as long as that is mounted, out of sight.
    file_system: OwnedFd,
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
    let mut sources = Vec::new();
    for (target, path, content) in files {
        sources.push((target, make_file(path, &content).or_fault("cannot write", path)?));
    }
    Ok(HostFiles { files: sources, file_system: directory(FILES)? })
}

fn make_file(path: &str, content: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::from_raw_mode(0o644))?;
    // A tmpfs takes these few bytes whole.
    write(&file, content.as_bytes())?;
    Ok(file)
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
        for (target, file) in self.files {
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
        unmount(name_of(&self.file_system), UnmountFlags::DETACH).or_fault("cannot unmount", FILES)
    }
}

/// Mounts `file` on `target` itself: where that is a symbolic link, on the link, so that what it
/// points to is neither followed nor made.
fn attach_one(target: &str, file: &OwnedFd) -> Result<(), Errno> {
    let place = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = match open(target, place, Mode::empty()) {
        Err(Errno::NOENT) => make_place(target)?,
        place => place?,
    };
    if FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    mount_bind(name_of(file), name_of(&place))
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
