//! The modules disk: `lib/modules/VERSION` as a guest sees it.
//!
//! What file system that is, and who writes it, is not for this crate to know: it gives a tar stream of the tree.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::thread;

use super::index::{Contents, Module};
use super::room::Room;
use super::tree::{BUILT_IN, BUILT_IN_INFO, ORDER};
use super::unpacked::{self, Unpacked, UnpackedModules};
use super::{ALL_LIMIT, Error, ModuleTree};
use crate::ability::Abilities;

/// Writes the tree of a tar stream to a new file, as a file system that a kernel with these abilities mounts
/// read-only. Other files may be made beside it meanwhile.
pub type DiskMaker = fn(tree: &mut dyn Read, disk: &Path, abilities: &Abilities) -> io::Result<()>;

/// What is taken over as it is.
const LISTS: [&str; 3] = [ORDER, BUILT_IN, BUILT_IN_INFO];

/// An empty file, over which a guest mounts what its kernel is to run when it wants a module.
const MODPROBE: &str = "modprobe";

/// Writes the disk: the modules, unpacked, so that every loader can read them, with their signatures; the kernel's own
/// lists; and the index.
pub fn make_disk(
    tree: &ModuleTree,
    make: DiskMaker,
    disk: &Path,
    abilities: &Abilities,
) -> Result<(), Error> {
    make_disk_with(unpacked::workers(), ALL_LIMIT, tree, make, disk, abilities)
}

/// On so many threads besides this one, and with so many bytes of modules at most.
fn make_disk_with(
    workers: usize,
    limit: u64,
    tree: &ModuleTree,
    make: DiskMaker,
    disk: &Path,
    abilities: &Abilities,
) -> Result<(), Error> {
    let mut modules: Vec<_> = tree.iter().map(|(name, path)| (name, disk_path(path))).collect();
    modules.sort_by(|(_, one), (_, other)| one.cmp(other));
    let names = modules.iter().map(|(name, _)| *name).collect();
    thread::scope(|scope| {
        let mut stream = TreeStream {
            tree,
            modules: modules.into(),
            unpacked: UnpackedModules::new(tree, names, workers, scope),
            room: Room::new("its modules", limit),
            directories: BTreeSet::new(),
            contents: Some(Contents::default()),
            piece: Cursor::default(),
            failed: None,
        };
        let made = make(&mut stream, disk, abilities);
        // Whatever the writer made of that.
        match stream.failed {
            Some(failed) => Err(failed),
            None => made.map_err(Error::Disk),
        }
    })
}

/// The tar stream, made while it is read: of what this thread writes, one file at a time is in memory.
struct TreeStream<'a> {
    tree: &'a ModuleTree,
    /// Names and paths on the disk, in the order of the paths.
    modules: VecDeque<(&'a str, String)>,
    /// Of those that are left, in the same order.
    unpacked: UnpackedModules<'a>,
    room: Room,
    directories: BTreeSet<String>,
    contents: Option<Contents>,
    piece: Cursor<Vec<u8>>,
    failed: Option<Error>,
}

impl TreeStream<'_> {
    /// The next files, as a piece of the archive; nothing when that has ended.
    fn next_piece(&mut self) -> Result<Vec<u8>, Error> {
        let mut archive = tar::Builder::new(Vec::new());
        match (self.modules.pop_front(), self.unpacked.next(), &mut self.contents) {
            (Some((name, path)), Some(module), Some(contents)) => {
                add_parents(&mut archive, &mut self.directories, &path)?;
                let Unpacked { content, info, exported } = module?;
                self.room.take(&content)?;
                add_file(&mut archive, &path, &content)?;
                contents.add(Module { name: name.into(), path, info, exported })?;
            }
            _ => {
                let Some(contents) = self.contents.take() else { return Ok(Vec::new()) };
                let lists: Vec<_> =
                    LISTS.iter().map(|list| self.tree.list(list)).collect::<Result<_, Error>>()?;
                for (name, list) in LISTS.iter().zip(&lists) {
                    add_file(&mut archive, name, list)?;
                }
                if let [order, built_in, built_in_info] = &lists[..] {
                    for (name, file) in contents.index(order, built_in, built_in_info)? {
                        add_file(&mut archive, name, &file)?;
                    }
                }
                add_file(&mut archive, MODPROBE, &[])?;
                return archive.into_inner().map_err(Error::Disk);
            }
        }
        // Without the end of an archive, which `into_inner` would write: more follows.
        Ok(std::mem::take(archive.get_mut()))
    }
}

impl Read for TreeStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.position() == self.piece.get_ref().len() as u64 {
            match self.next_piece() {
                Ok(piece) => self.piece = Cursor::new(piece),
                Err(failed) => {
                    let error = io::Error::other(failed.to_string());
                    self.failed.get_or_insert(failed);
                    return Err(error);
                }
            }
        }
        self.piece.read(buffer)
    }
}

/// `a/b.ko.xz` is `a/b.ko` on the disk.
fn disk_path(path: &str) -> String {
    let begin = path.rfind(".ko").unwrap_or(path.len());
    format!("{}.ko", path.get(..begin).unwrap_or(path))
}

fn add_parents(
    archive: &mut tar::Builder<Vec<u8>>,
    made: &mut BTreeSet<String>,
    path: &str,
) -> Result<(), Error> {
    for (at, _) in path.match_indices('/') {
        let parent = &path[..at];
        if made.insert(parent.to_owned()) {
            add(archive, parent, tar::EntryType::Directory, 0o755, &[])?;
        }
    }
    Ok(())
}

fn add_file(archive: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) -> Result<(), Error> {
    add(archive, path, tar::EntryType::Regular, 0o644, content)
}

/// Owners are root and times zero: the same modules make the same disk.
fn add(
    archive: &mut tar::Builder<Vec<u8>>,
    path: &str,
    kind: tar::EntryType,
    mode: u32,
    content: &[u8],
) -> Result<(), Error> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, path, content).map_err(Error::Disk)
}

#[cfg(test)]
#[path = "disk_test.rs"]
mod tests;
