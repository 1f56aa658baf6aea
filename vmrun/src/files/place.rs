//! Where a copy goes: Docker's rules.

use anyhow::{Result, bail};

/// What is at the path that a copy is to go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Nothing,
    Directory,
    File,
}

/// What a copy's source is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceName {
    pub is_directory: bool,
    /// `None` where the path has no name, or ends in `/.`: then what is in the directory is copied, and
    /// not the directory itself.
    pub name: Option<Vec<u8>>,
}

/// A copy goes below this directory, under this name; without a name, right into the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub directory: Vec<u8>,
    pub name: Vec<u8>,
}

impl SourceName {
    pub fn of(path: &[u8], is_directory: bool) -> SourceName {
        SourceName { is_directory, name: base_name(path).map(<[u8]>::to_vec) }
    }
}

impl Destination {
    /// `path` is where the user wants it, `place` what is there.
    pub fn of(source: &SourceName, path: &[u8], place: Place) -> Result<Destination> {
        let shown = String::from_utf8_lossy(path);
        let wants_directory = is_directory_path(path);
        match place {
            Place::Directory => {
                let name = source.name.clone().unwrap_or_default();
                Ok(Destination { directory: path.to_vec(), name })
            }
            Place::File if source.is_directory => bail!("cannot copy a directory over the file {shown}"),
            Place::File if wants_directory => bail!("{shown} is not a directory"),
            Place::Nothing if wants_directory && !source.is_directory => {
                bail!("the directory {shown} does not exist, and a file is no directory")
            }
            Place::File | Place::Nothing => {
                let Some(name) = base_name(without_slashes(path)) else {
                    bail!("the directory {shown} does not exist")
                };
                let path = without_slashes(path);
                let directory = match &path[..path.len() - name.len()] {
                    b"" => b".".to_vec(),
                    parent => parent.to_vec(),
                };
                Ok(Destination { directory, name: name.to_vec() })
            }
        }
    }
}

/// The last part of a path, if that is a name.
pub fn base_name(path: &[u8]) -> Option<&[u8]> {
    let last = without_slashes(path).rsplit(|byte| *byte == b'/').next()?;
    (!last.is_empty() && last != b"." && last != b"..").then_some(last)
}

/// Whether only a directory can be meant.
fn is_directory_path(path: &[u8]) -> bool {
    path.ends_with(b"/") || path.ends_with(b"/.") || path.ends_with(b"/..") || path == b"." || path == b".."
}

fn without_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    &path[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(source: &str, is_directory: bool, path: &str, place: Place) -> Result<(String, String)> {
        let source = SourceName::of(source.as_bytes(), is_directory);
        let found = Destination::of(&source, path.as_bytes(), place)?;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ok((text(found.directory), text(found.name)))
    }

    fn goes(source: &str, is_directory: bool, path: &str, place: Place, directory: &str, name: &str) {
        let found = to(source, is_directory, path, place).unwrap();
        assert_eq!(found, (directory.into(), name.into()), "{source} to {path}");
    }

    #[test]
    fn files_go_where_docker_puts_them() {
        goes("a/file", false, "/new", Place::Nothing, "/", "new");
        goes("a/file", false, "/dir/old", Place::File, "/dir/", "old");
        goes("a/file", false, "/dir", Place::Directory, "/dir", "file");
        goes("file", false, "new", Place::Nothing, ".", "new");
        assert!(to("file", false, "/new/", Place::Nothing).is_err());
        assert!(to("file", false, "/old/", Place::File).is_err());
    }

    #[test]
    fn directories_go_where_docker_puts_them() {
        goes("a/dir", true, "/new", Place::Nothing, "/", "new");
        goes("a/dir/", true, "/new/", Place::Nothing, "/", "new");
        goes("a/dir/.", true, "/x/new", Place::Nothing, "/x/", "new");
        goes("a/dir", true, "/old", Place::Directory, "/old", "dir");
        goes("a/dir/", true, "/old/", Place::Directory, "/old/", "dir");
        goes("a/dir/.", true, "/old", Place::Directory, "/old", "");
        goes("/", true, "out", Place::Directory, "out", "");
        goes(".", true, "/old", Place::Directory, "/old", "");
        assert!(to("a/dir", true, "/file", Place::File).is_err());
        assert!(to("a/dir", true, "/no/..", Place::Nothing).is_err());
    }
}
