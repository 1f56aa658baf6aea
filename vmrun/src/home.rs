//! Where vmrun keeps its things.

use std::env;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kernels::KernelStore;
use rootfs_builder::store::Store;

use crate::modules_disk;

/// The state directory and what is opened from it.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// `--root`, else `VMRUN_HOME`, else /var/lib/vmrun for root and `$XDG_DATA_HOME/vmrun` for
    /// everybody else.
    pub fn locate(root: Option<&Path>) -> Result<Home> {
        let root = match root {
            Some(root) => root.to_owned(),
            None => match env::var_os("VMRUN_HOME").filter(|value| !value.is_empty()) {
                Some(value) => value.into(),
                None => default_root()?,
            },
        };
        let root =
            std::path::absolute(&root).with_context(|| format!("cannot resolve {}", root.display()))?;
        Ok(Home { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn images(&self) -> Result<Store> {
        Ok(Store::open(&self.root)?)
    }

    pub fn kernels(&self) -> Result<KernelStore> {
        Ok(KernelStore::open(&self.root.join("kernels"))?.with_disks(modules_disk::make))
    }

    /// Where stopped and running machines have their records.
    pub fn machines(&self) -> PathBuf {
        self.root.join("machines")
    }
}

/// Makes a directory, and its parents, that only its owner can look into.
pub fn private_directory(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make {}", path.display()))?;
    let runtime = runtime_directory();
    if path.starts_with(&runtime) {
        check_owner(&runtime)?;
    }
    Ok(())
}

/// Where everybody may make directories, somebody may have made this one, to have our sockets.
fn check_owner(directory: &Path) -> Result<()> {
    let metadata =
        fs::symlink_metadata(directory).with_context(|| format!("cannot look at {}", directory.display()))?;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if !metadata.is_dir() || !ours || metadata.mode() & 0o022 != 0 {
        bail!(
            "{} is not this user's alone: remove it, or name another place with XDG_RUNTIME_DIR",
            directory.display()
        );
    }
    Ok(())
}

fn default_root() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/vmrun".into());
    }
    if let Some(data) = env::var_os("XDG_DATA_HOME").filter(|value| Path::new(value).is_absolute()) {
        return Ok(PathBuf::from(data).join("vmrun"));
    }
    match env::var_os("HOME").filter(|value| !value.is_empty()) {
        Some(home) => Ok(PathBuf::from(home).join(".local/share/vmrun")),
        None => {
            bail!("neither HOME nor XDG_DATA_HOME is set: name a state directory with --root or VMRUN_HOME")
        }
    }
}

/// Where things are kept that can be made again: `$XDG_CACHE_HOME/vmrun`, else `~/.cache/vmrun`.
pub fn cache_directory() -> Result<PathBuf> {
    if let Some(cache) = env::var_os("XDG_CACHE_HOME").filter(|value| Path::new(value).is_absolute()) {
        return Ok(PathBuf::from(cache).join("vmrun"));
    }
    match env::var_os("HOME").filter(|value| !value.is_empty()) {
        Some(home) => Ok(PathBuf::from(home).join(".cache/vmrun")),
        None => bail!("neither HOME nor XDG_CACHE_HOME is set: name a directory with XDG_CACHE_HOME"),
    }
}

/// The directory for sockets, whose paths must be short and on a local file system: a fresh one
/// below `$XDG_RUNTIME_DIR`, /run for root, else the temporary directory.
pub fn runtime_directory() -> PathBuf {
    if let Some(runtime) = env::var_os("XDG_RUNTIME_DIR").filter(|value| Path::new(value).is_absolute()) {
        return PathBuf::from(runtime).join("vmrun");
    }
    if rustix::process::geteuid().is_root() {
        return "/run/vmrun".into();
    }
    env::temp_dir().join(format!("vmrun-{}", rustix::process::geteuid().as_raw()))
}

/// A program that was installed beside vmrun's own executable.
pub fn beside_executable(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("cannot find vmrun's own executable")?;
    let path = own.with_file_name(name);
    if !path.is_file() {
        bail!("{} is missing: it belongs beside {}; run `make build`", path.display(), own.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(check_owner(directory.path()).is_ok());
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(check_owner(directory.path()).is_err());
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        assert!(check_owner(&link).is_err());
    }
}
