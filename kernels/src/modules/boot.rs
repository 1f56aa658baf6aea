//! What is kept of the modules as they were shipped when the disk has all of them: those that a start may need, of
//! which archives are made as machines ask for them.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::tree::{BUILT_IN, BUILT_IN_INFO};
use super::{Error, ModuleTree, load_order};

/// Removes all from `directory` but the modules that `roots` need, and the lists of built-in ones. Of each group of
/// roots, those that cannot be loaded are not missed.
pub fn keep_for_boot(directory: &Path, tree: &ModuleTree, roots: &[Vec<&str>]) -> Result<(), Error> {
    let mut kept = HashSet::new();
    for group in roots {
        kept.extend(load_order(tree, group).unwrap_or_default());
    }
    let mut files: HashSet<_> = [BUILT_IN, BUILT_IN_INFO].map(|list| directory.join(list)).into();
    files.extend(tree.iter().filter(|(name, _)| kept.contains(*name)).map(|(_, path)| directory.join(path)));
    prune(directory, &files).map(drop)
}

/// Whether nothing is left of the directory.
fn prune(directory: &Path, kept: &HashSet<std::path::PathBuf>) -> Result<bool, Error> {
    let failed = |cause| Error::Read { path: directory.to_owned(), cause };
    let mut empty = true;
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            match prune(&path, kept)? {
                true => fs::remove_dir(&path).map_err(failed)?,
                false => empty = false,
            }
        } else if kept.contains(&path) {
            empty = false;
        } else {
            fs::remove_file(&path).map_err(failed)?;
        }
    }
    Ok(empty)
}
