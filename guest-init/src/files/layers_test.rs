//! What is made of an upper directory, with whiteouts and marks as an overlay leaves them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use guest_protocol::files::{ChangeKind, Entry, Item, ItemReader, ItemWriter, Kind};
use rustix::fs::{CWD, FileType, Mode, OFlags, XattrFlags, mknodat, open, setxattr};

use super::{changes, layer};
use crate::overlay::Layers;

/// Two layers in a directory of their own.
struct Scratch {
    base: PathBuf,
    layers: Layers,
}

impl Scratch {
    fn new(name: &str) -> Scratch {
        let base = std::env::temp_dir().join(format!("vmrun-layers-{}-{name}", std::process::id()));
        let directory = |name: &str| {
            let path = base.join(name);
            fs::create_dir_all(&path).unwrap();
            open(&path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
        };
        let layers = Layers { upper: directory("upper"), lower: directory("lower"), places: Vec::new() };
        Scratch { base, layers }
    }

    fn write(&self, paths: &[&str]) {
        paths.iter().for_each(|path| self.write_one(path));
    }

    fn write_one(&self, path: &str) {
        let path = self.base.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, path.file_name().unwrap().as_encoded_bytes()).unwrap();
    }

    fn delete(&self, path: &str) {
        let path = self.base.join("upper").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }

    fn replace(&self, path: &str) {
        let path = self.base.join("upper").join(path);
        fs::create_dir_all(&path).unwrap();
        setxattr(&path, "trusted.overlay.opaque", b"y", XattrFlags::empty()).expect("this takes root");
    }

    fn items(&self, send: fn(&Layers, &mut ItemWriter<Vec<u8>>) -> file_tree::Result<()>) -> Vec<Item> {
        let mut writer = ItemWriter::new(Vec::new());
        send(&self.layers, &mut writer).unwrap();
        writer.end(Ok(())).unwrap();
        let mut reader = ItemReader::new(writer.target().as_slice());
        let mut items = Vec::new();
        while items.last() != Some(&Item::Done) {
            items.push(reader.item().unwrap());
        }
        items.pop();
        items
    }

    /// Letters and paths.
    fn changes(&self) -> Vec<String> {
        let shown = |item: Item| match item {
            Item::Change(change) => {
                let letter = match change.kind {
                    ChangeKind::Added => 'A',
                    ChangeKind::Changed => 'C',
                    ChangeKind::Deleted => 'D',
                };
                format!("{letter} {}", String::from_utf8(change.path).unwrap())
            }
            item => panic!("{item:?}"),
        };
        self.items(changes::send).into_iter().map(shown).collect()
    }

    fn layer(&self) -> Vec<String> {
        let shown = |item: Item| match item {
            Item::Entry(Entry { path, kind, xattrs, .. }) => {
                assert!(xattrs.iter().all(|xattr| !xattr.name.starts_with(b"trusted.overlay")));
                let path = String::from_utf8(path).unwrap();
                match kind {
                    Kind::HardLink(to) => format!("{path} = {}", String::from_utf8(to).unwrap()),
                    Kind::Directory => path + "/",
                    _ => path,
                }
            }
            item => format!("{item:?}"),
        };
        self.items(layer::send).into_iter().map(shown).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.base);
    }
}

#[test]
fn additions_changes_and_deletions_are_told_apart() {
    let scratch = Scratch::new("changes");
    scratch.write(&["lower/d/kept", "lower/d/gone", "lower/e/f", "lower/becomes-directory"]);
    scratch.write(&["upper/d/new", "upper/d/kept", "upper/fresh/f", "upper/becomes-directory/f"]);
    scratch.delete("d/gone");
    scratch.delete("e");
    scratch.delete("d/came-and-went");
    let expected = [
        "C becomes-directory",
        "A becomes-directory/f",
        "C d",
        "D d/gone",
        "C d/kept",
        "A d/new",
        "D e",
        "A fresh",
        "A fresh/f",
    ];
    assert_eq!(scratch.changes(), expected);
}

#[test]
fn a_directory_that_was_replaced_has_lost_what_it_does_not_have() {
    let scratch = Scratch::new("opaque");
    scratch.write(&[
        "lower/d/old",
        "lower/d/both",
        "lower/d/sub/old",
        "upper/d/both",
        "upper/d/new",
        "upper/d/sub/new",
    ]);
    scratch.replace("d");
    let expected = ["C d", "C d/both", "A d/new", "D d/old", "C d/sub", "A d/sub/new", "D d/sub/old"];
    assert_eq!(scratch.changes(), expected);
    assert_eq!(scratch.layer(), ["d/", "d/.wh..wh..opq", "d/both", "d/new", "d/sub/", "d/sub/new"]);
}

#[test]
fn a_layer_has_whiteouts_and_links() {
    let scratch = Scratch::new("layer");
    scratch.write(&["upper/a/file"]);
    scratch.write(&["upper/.wh.odd"]);
    fs::hard_link(scratch.base.join("upper/a/file"), scratch.base.join("upper/z")).unwrap();
    scratch.delete("a/gone");
    let odd = "Warning(\"‘.wh.odd’ has a name that no image can hold, and was left out\")";
    assert_eq!(scratch.layer(), [odd, "a/", "a/file", "a/.wh.gone", "z = a/file"]);
}

#[test]
fn what_guest_init_made_does_not_count() {
    let empty = |path: &Path| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    };
    // An image without anything, and one with /etc and nothing in it that matters.
    for etc in [false, true] {
        let scratch = Scratch::new(&format!("made-{etc}"));
        let upper = scratch.base.join("upper");
        for name in ["proc", "sys", "dev", "run"] {
            fs::create_dir(upper.join(name)).unwrap();
        }
        for name in ["hosts", "hostname", "resolv.conf"] {
            empty(&upper.join("etc").join(name));
        }
        if etc {
            scratch.write(&["lower/etc/passwd"]);
        }
        assert_eq!(scratch.changes(), [""; 0], "etc: {etc}");
        assert_eq!(scratch.layer(), [""; 0], "etc: {etc}");
        // What a user has put beside it, or in it, is the user's.
        scratch.write(&["upper/etc/motd"]);
        scratch.write(&["upper/run/socket-directory/x"]);
        let said = if etc { "C etc" } else { "A etc" };
        assert_eq!(
            scratch.changes(),
            [said, "A etc/motd", "A run", "A run/socket-directory", "A run/socket-directory/x"]
        );
    }
}

#[test]
fn what_the_image_has_is_no_placeholder() {
    let scratch = Scratch::new("had");
    fs::create_dir_all(scratch.base.join("lower/proc")).unwrap();
    fs::create_dir_all(scratch.base.join("upper/proc")).unwrap();
    symlink("/elsewhere", scratch.base.join("upper/run")).unwrap();
    scratch.write(&["upper/etc/hosts"]);
    assert_eq!(scratch.changes(), ["A etc", "A etc/hosts", "C proc", "A run"]);
}
