//! `vmrun rootfs`: an image's root file system as one file.

use std::path::Path;

use anyhow::{Context, Result};

use crate::arguments::RootfsArguments;
use crate::home::Home;

/// Writes beside the target and renames, so that the target is whole or untouched.
pub fn rootfs(home: &Home, arguments: &RootfsArguments) -> Result<u8> {
    let store = home.images()?;
    let image = store.resolve(&arguments.image)?;
    let directory = match arguments.output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let cannot = || format!("cannot write {}", arguments.output.display());
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)
        .with_context(cannot)?;
    store.export_rootfs(&image, file.as_file_mut())?;
    file.as_file().sync_all().with_context(cannot)?;
    file.persist(&arguments.output).map_err(|error| error.error).with_context(cannot)?;
    Ok(0)
}
