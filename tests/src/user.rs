//! Somebody on this host who is not root.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::{Command, setting, vmrun};

/// Nobody's, on every distribution.
const ID: u32 = 65534;
const KVM: &str = "/dev/kvm";

/// A user with a home directory, a vmrun, and the right to use /dev/kvm, as udev gives it to everybody.
#[derive(Debug)]
pub struct User {
    directory: tempfile::TempDir,
    /// Of /dev/kvm, as this host has them.
    permissions: Permissions,
}

impl User {
    pub fn with_kvm() -> User {
        let directory = tempfile::tempdir().unwrap();
        let installed = PathBuf::from(setting("VMRUN"));
        for program in [installed.clone(), installed.with_file_name("guest-init")] {
            fs::copy(&program, directory.path().join(program.file_name().unwrap())).unwrap();
        }
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        chown(directory.path(), Some(ID), Some(ID)).unwrap();
        let permissions = fs::metadata(KVM).unwrap().permissions();
        fs::set_permissions(KVM, Permissions::from_mode(permissions.mode() | 0o666)).unwrap();
        User { directory, permissions }
    }

    /// Gives the user a copy of a file.
    pub fn give(&self, file: &Path) -> PathBuf {
        let copy = self.directory.path().join(file.file_name().unwrap());
        fs::copy(file, &copy).unwrap();
        chown(&copy, Some(ID), Some(ID)).unwrap();
        copy
    }

    /// `vmrun WORDS…`, by the user, with nothing in its environment that says where things are.
    pub fn vmrun<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let home = self.directory.path();
        vmrun(words).by(ID, home.join("vmrun")).env("HOME", home).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = fs::set_permissions(KVM, self.permissions.clone());
    }
}
