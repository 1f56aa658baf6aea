//! The archive of modules that a machine's initramfs begins with.

use std::io;

use super::signature::without_signature;
use super::{Error, ModuleTree, Signatures};
use crate::cpio::Archive;

/// A newc archive with `/modules/NN-name.ko`, uncompressed, numbered in load order: whoever loads
/// them needs to know nothing but to go by their names.
pub fn write(tree: &ModuleTree, load_order: &[String], signatures: Signatures) -> Result<Vec<u8>, Error> {
    let digits = if load_order.len() > 100 { 3 } else { 2 };
    let mut archive = Archive::new();
    let failed = |name: &str| {
        let path = name.into();
        move |cause: io::Error| Error::Read { path, cause }
    };
    archive.add_directory("modules", 0o755).map_err(failed("modules"))?;
    for (number, name) in load_order.iter().enumerate() {
        let content = tree.read(name)?;
        let content = match signatures {
            Signatures::Kept => &content,
            Signatures::Dropped => without_signature(&content),
        };
        let path = format!("modules/{number:0digits$}-{name}.ko");
        archive.add_file(&path, 0o644, content).map_err(failed(&path))?;
    }
    archive.finish().map_err(failed("modules"))
}
