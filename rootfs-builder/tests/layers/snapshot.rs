//! What a file system shows: every path with all that can be asked about it.

use rustix::fs::{AtFlags, CWD, lgetxattr, llistxattr, statat};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Type and permissions.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: (i64, u32),
    /// Bytes; of directories nothing is said.
    pub size: u64,
    pub nlink: u64,
    pub device: u64,
    pub content: Vec<u8>,
    pub target: PathBuf,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path, in order, of the same inode.
    pub first_link: PathBuf,
}

pub type Snapshot = BTreeMap<PathBuf, File>;

pub fn snapshot(root: &Path) -> Snapshot {
    let mut files = Snapshot::new();
    walk(root, Path::new(""), &mut files);
    let mut first: HashMap<u64, PathBuf> = HashMap::new();
    for (path, file) in &mut files {
        let inode: u64 = file.first_link.to_str().unwrap().parse().unwrap();
        file.first_link = first.entry(inode).or_insert_with(|| path.clone()).clone();
    }
    files
}

fn walk(root: &Path, path: &Path, files: &mut Snapshot) {
    let full = root.join(path);
    let stat = statat(CWD, &full, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    let kind = stat.st_mode & 0o170000;
    let (is_directory, is_file, is_link) = (kind == 0o040000, kind == 0o100000, kind == 0o120000);
    files.insert(
        path.to_owned(),
        File {
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
            size: if is_directory { 0 } else { stat.st_size as u64 },
            nlink: stat.st_nlink as u64,
            device: stat.st_rdev as u64,
            content: if is_file { fs::read(&full).unwrap() } else { Vec::new() },
            target: if is_link { fs::read_link(&full).unwrap() } else { PathBuf::new() },
            xattrs: xattrs(&full),
            first_link: stat.st_ino.to_string().into(),
        },
    );
    if is_directory {
        for entry in fs::read_dir(&full).unwrap() {
            let name = entry.unwrap().file_name();
            walk(root, &path.join(name), files);
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65536];
    let length = llistxattr(path, &mut names[..]).unwrap();
    let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 65536];
            let name_text = std::ffi::OsString::from_vec(name.to_vec());
            let length = lgetxattr(path, name_text.as_os_str(), &mut value[..]).unwrap();
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect()
}

/// The differences between two snapshots, a line each.
pub fn differences(ours: &Snapshot, reference: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, file) in reference {
        match ours.get(path) {
            None => lines.push(format!("{}: missing", path.as_os_str().as_bytes().escape_ascii())),
            Some(our) if our != file => lines.push(format!(
                "{}: {:?}, reference {:?}",
                path.as_os_str().as_bytes().escape_ascii(),
                brief(our),
                brief(file)
            )),
            Some(_) => {}
        }
    }
    for path in ours.keys().filter(|path| !reference.contains_key(*path)) {
        lines.push(format!("{}: too much", path.as_os_str().as_bytes().escape_ascii()));
    }
    lines
}

fn brief(file: &File) -> File {
    let mut file = file.clone();
    file.content.truncate(16);
    file
}
