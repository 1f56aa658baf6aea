//! An image's files, read one by one without a machine.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::Store;
use super::error::{Error, Result};
use super::images::Image;
use super::layers::LayerPaths;
use crate::erofs::{self, LayerFiles, content_place};
use crate::layer::FileType;
use crate::tree::{Body, Node, Tree};

/// Symbolic links that are followed at the end of a path, as many as Linux follows.
const MAX_LINKS: usize = 40;

/// The merged tree of an image, with its contents.
pub struct ImageFiles {
    tree: Tree,
    /// The layers' data files.
    data: Vec<PathBuf>,
}

/// A file of an image: reads its bytes from the store.
#[derive(Debug)]
pub struct ImageFile {
    data: File,
    position: u64,
    end: u64,
}

impl Store {
    /// Opens an image's files. As long as `image` lives, they stay.
    pub fn files(&self, image: &Image) -> Result<ImageFiles> {
        let paths = self.layer_paths(image.layers());
        let files: Vec<LayerFiles> = paths.iter().map(LayerPaths::files).collect();
        let failed = |source| Error::Metadata { image: image.id(), source };
        let merged = erofs::merge_layers(&files, b"").map_err(failed)?;
        let data = files.iter().map(|layer| layer.data.to_owned()).collect();
        Ok(ImageFiles { tree: merged.tree, data })
    }
}

impl ImageFiles {
    /// What is in a directory: names and types; nothing if there is no such directory.
    pub fn entries(&self, directory: &[u8]) -> Vec<(&[u8], FileType)> {
        let Some(node) = self.directory(directory) else { return Vec::new() };
        let entry = |node| (self.tree.name(node), self.tree.inode(self.tree.inode_of(node)).file_type());
        self.tree.children(node).map(entry).collect()
    }

    /// A file by its path; none if there is no such file. Links are followed, within the image.
    pub fn open(&self, path: &[u8]) -> io::Result<Option<ImageFile>> {
        let mut path = path.to_vec();
        for _ in 0..MAX_LINKS {
            let (parent, name) = split(&path);
            let Some(directory) = self.directory(parent) else { return Ok(None) };
            let Some(node) = self.tree.child(directory, name) else { return Ok(None) };
            let row = self.tree.inode(self.tree.inode_of(node));
            match row.body {
                Body::File { size, place } => {
                    let (layer, begin) = content_place(&self.tree, row, place);
                    let data = self.data.get(usize::from(layer)).ok_or(io::ErrorKind::NotFound)?;
                    let end = begin.checked_add(size).ok_or(io::ErrorKind::InvalidData)?;
                    return Ok(Some(ImageFile { data: File::open(data)?, position: begin, end }));
                }
                Body::Symlink { target, .. } => {
                    let target = self.tree.text(target);
                    path = match target.starts_with(b"/") {
                        true => target.to_vec(),
                        false => [&self.tree.path(directory), target].join(&b'/'),
                    };
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    fn directory(&self, path: &[u8]) -> Option<Node> {
        let found = self.tree.resolve(path).ok()?;
        found.missing.is_empty().then_some(found.node)
    }
}

impl std::fmt::Debug for ImageFiles {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("ImageFiles").field("data", &self.data).finish_non_exhaustive()
    }
}

impl Read for ImageFile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let wanted = (self.end - self.position).min(out.len() as u64) as usize;
        if wanted == 0 {
            return Ok(0);
        }
        match self.data.read_at(&mut out[..wanted], self.position)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.position += read as u64;
                Ok(read)
            }
        }
    }
}

/// A path's directory and last name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}
