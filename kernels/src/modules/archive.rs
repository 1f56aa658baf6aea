//! The archive of modules that a machine's initramfs begins with.

use std::io;

use super::room::Room;
use super::signature::without_signature;
use super::{BOOT_LIMIT, Error, ModuleTree, Signatures};
use crate::cpio::Archive;

/// A newc archive with `/modules/NN-name.ko`, uncompressed, numbered in load order: whoever loads
/// them needs to know nothing but to go by their names; and the same of `later` as
/// `/later-modules/NN-name.ko`.
pub fn write(
    tree: &ModuleTree,
    load_order: &[String],
    later: &[String],
    signatures: Signatures,
) -> Result<Vec<u8>, Error> {
    write_within(BOOT_LIMIT, tree, load_order, later, signatures)
}

/// With so many bytes of modules at most.
pub(super) fn write_within(
    limit: u64,
    tree: &ModuleTree,
    load_order: &[String],
    later: &[String],
    signatures: Signatures,
) -> Result<Vec<u8>, Error> {
    let (mut archive, mut room) = (Archive::new(), Room::new("the modules that a start loads", limit));
    add(&mut archive, &mut room, "modules", tree, load_order, signatures)?;
    if !later.is_empty() {
        add(&mut archive, &mut room, "later-modules", tree, later, signatures)?;
    }
    archive.finish().map_err(failed("modules"))
}

fn add(
    archive: &mut Archive,
    room: &mut Room,
    directory: &str,
    tree: &ModuleTree,
    load_order: &[String],
    signatures: Signatures,
) -> Result<(), Error> {
    let digits = if load_order.len() > 100 { 3 } else { 2 };
    archive.add_directory(directory, 0o755).map_err(failed(directory))?;
    for (number, name) in load_order.iter().enumerate() {
        let content = tree.read(name)?;
        let content = match signatures {
            Signatures::Kept => &content,
            Signatures::Dropped => without_signature(&content),
        };
        room.take(content)?;
        let path = format!("{directory}/{number:0digits$}-{name}.ko");
        archive.add_file(&path, 0o644, content).map_err(failed(&path))?;
    }
    Ok(())
}

fn failed(name: &str) -> impl FnOnce(io::Error) -> Error {
    let path = name.into();
    move |cause| Error::Read { path, cause }
}
