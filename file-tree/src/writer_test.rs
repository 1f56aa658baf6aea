use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use guest_protocol::files::{Item, ItemWriter, Time, Xattr};
use rustix::fs::open;

use super::*;

const POLICY: Policy = Policy {
    links: Links::Refused,
    owners: false,
    special_modes: false,
    devices: false,
    wanted_xattrs: |name| name.starts_with(b"user."),
};

fn entry(path: &str, kind: Kind) -> Entry {
    let modified = Time { seconds: -5, nanoseconds: 123_456_789 };
    Entry { path: path.into(), kind, mode: 0o4751, uid: 0, gid: 0, modified, xattrs: Vec::new() }
}

/// Writes entries, each file with `content`.
fn write_with(policy: Policy, target: &Path, entries: &[Entry], content: &[u8]) -> (Result<()>, Vec<String>) {
    let mut wire = Vec::new();
    let mut writer = ItemWriter::new(&mut wire);
    for entry in entries {
        writer.item(&Item::Entry(entry.clone())).unwrap();
        writer.data(&content[..entry.size() as usize]).unwrap();
    }
    writer.end(Ok(())).unwrap();
    drop(writer);
    let mut warnings = Vec::new();
    let mut warn = |text| warnings.push(text);
    let target = open(target, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let written = TreeWriter::new(target, policy, &mut warn).write_all(&mut ItemReader::new(wire.as_slice()));
    (written, warnings)
}

fn write(target: &Path, entries: &[Entry]) -> Result<()> {
    write_with(POLICY, target, entries, b"new content").0
}

#[test]
fn what_comes_is_made_with_its_attributes() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let mut file = entry("d/file", Kind::File(3));
    file.xattrs = vec![Xattr { name: b"user.a".to_vec(), value: b"b".to_vec() }];
    file.xattrs.push(Xattr { name: b"trusted.a".to_vec(), value: b"b".to_vec() });
    let mut locked = entry("d", Kind::Directory);
    locked.mode = 0o555;
    let link = entry("d/link", Kind::Symlink(b"../../../etc".to_vec()));
    let hard = entry("hard", Kind::HardLink(b"d/file".to_vec()));
    let fifo = entry("fifo", Kind::Fifo);
    let device = entry("device", Kind::CharacterDevice(1, 3));
    let all = [entry("", Kind::Directory), locked, file, link, hard, fifo, device];
    let (written, warnings) = write_with(POLICY, directory.path(), &all, b"abc");
    written.unwrap();
    assert_eq!(fs::read(at("hard")).unwrap(), b"abc");
    let seen = fs::metadata(at("d/file")).unwrap();
    assert_eq!((seen.mode() & 0o7777, seen.nlink()), (0o751, 2));
    assert_eq!((seen.mtime(), seen.mtime_nsec()), (-5, 123_456_789));
    let seen = fs::metadata(at("d")).unwrap();
    assert_eq!((seen.mode() & 0o7777, seen.mtime()), (0o555, -5));
    assert_eq!(fs::read_link(at("d/link")).unwrap(), Path::new("../../../etc"));
    assert!(fs::symlink_metadata(at("fifo")).unwrap().mode() & 0o170000 == 0o010000);
    assert!(!at("device").exists());
    assert_eq!(warnings, ["‘device’ is a device and was left out"]);
}

/// A device that is left out takes its other names with it, and nothing else.
#[test]
fn other_names_of_what_is_left_out_are_left_out() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("b"), "kept").unwrap();
    let device = entry("a", Kind::CharacterDevice(1, 3));
    let link = |path| entry(path, Kind::HardLink(b"a".to_vec()));
    let all = [device, link("b"), link("c"), entry("f", Kind::File(3))];
    let (written, warnings) = write_with(POLICY, directory.path(), &all, b"abc");
    written.unwrap();
    assert_eq!(warnings.len(), 3);
    assert_eq!(warnings[1], "‘b’ is another name of a device and was left out");
    assert_eq!(fs::read_to_string(directory.path().join("b")).unwrap(), "kept");
    assert!(directory.path().join("f").exists() && !directory.path().join("c").exists());
    assert!(write(directory.path(), &[entry("x", Kind::HardLink(b"nothing".to_vec()))]).is_err());
}

/// Between its making and its owner's being set, a name may be given to another file.
#[test]
fn only_what_was_just_made_changes_owner() {
    let directory = tempfile::tempdir().unwrap();
    let (fifo, link) = (directory.path().join("fifo"), directory.path().join("link"));
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    symlink("target", &link).unwrap();
    let policy = Policy { owners: true, ..POLICY };
    let set = |name: &str, kind| {
        let mut warnings = Vec::new();
        let mut warn = |text| warnings.push(text);
        let target = open(directory.path(), OFlags::PATH, Mode::empty()).unwrap();
        let parent = target.try_clone().unwrap();
        let entry = Entry { uid: 1234, gid: 1234, ..entry(name, kind) };
        TreeWriter::new(target, policy, &mut warn)
            .set_unopened(parent.as_fd(), OsStr::new(name), &entry)
            .unwrap();
        warnings.len()
    };
    let symlink_to = || Kind::Symlink(b"target".to_vec());
    // What was made is of another type, or gone.
    assert_eq!((set("link", Kind::Fifo), set("fifo", symlink_to()), set("gone", Kind::Fifo)), (1, 1, 1));
    // A second name of a file that was there before.
    fs::hard_link(&fifo, directory.path().join("second")).unwrap();
    assert_eq!(set("second", Kind::Fifo), 1);
    fs::remove_file(directory.path().join("second")).unwrap();
    assert_eq!(fs::symlink_metadata(&fifo).unwrap().uid(), 0);
    assert_eq!((set("link", symlink_to()), set("fifo", Kind::Fifo)), (0, 0));
    for path in [&fifo, &link] {
        let seen = fs::symlink_metadata(path).unwrap();
        assert_eq!((seen.uid(), seen.mtime(), seen.mtime_nsec()), (1234, -5, 123_456_789));
    }
    // It is somebody else's already.
    assert_eq!(set("fifo", Kind::Fifo), 1);
}

#[test]
fn sparse_files_keep_their_size() {
    let directory = tempfile::tempdir().unwrap();
    let mut content = vec![0; 10_000_000];
    content[100_000] = 7;
    let size = content.len() as u64;
    write_with(POLICY, directory.path(), &[entry("f", Kind::File(size))], &content).0.unwrap();
    assert_eq!(fs::read(directory.path().join("f")).unwrap(), content);
    assert!(fs::metadata(directory.path().join("f")).unwrap().blocks() < 1000);
}

#[test]
fn nothing_is_written_through_a_link_that_came_before() {
    let base = tempfile::tempdir().unwrap();
    let (inside, outside) = (base.path().join("in"), base.path().join("out"));
    fs::create_dir(&inside).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "kept").unwrap();
    for target in ["../out", outside.to_str().unwrap()] {
        for links in [Links::Refused, Links::Beneath, Links::Root] {
            let _ = fs::remove_file(inside.join("l"));
            let link = entry("l", Kind::Symlink(target.into()));
            let policy = Policy { links, ..POLICY };
            let attack = [link.clone(), entry("l/file", Kind::File(3))];
            let (written, _) = write_with(policy, &inside, &attack, b"bad");
            if links != Links::Root {
                let error = written.unwrap_err().to_string();
                assert!(error.contains("symbolic link"), "{error}");
            }
            let attack = [link, entry("l", Kind::Directory), entry("l/file", Kind::File(3))];
            let _ = write_with(policy, &inside, &attack, b"bad");
            let attack = [entry("hard", Kind::HardLink(b"l/file".to_vec())), entry("hard", Kind::File(3))];
            let _ = write_with(policy, &inside, &attack, b"bad");
            assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "kept", "{target} {links:?}");
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        }
    }
}

#[test]
fn a_file_replaces_a_link_and_not_what_it_points_to() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("target"), "kept").unwrap();
    symlink("target", at("link")).unwrap();
    write(directory.path(), &[entry("link", Kind::File(3))]).unwrap();
    assert_eq!(fs::read_to_string(at("target")).unwrap(), "kept");
    assert_eq!(fs::read_to_string(at("link")).unwrap(), "new");
}

#[test]
fn nothing_is_made_beside_what_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("secret"), "kept").unwrap();
    let written = |entries: &[Entry]| {
        let mut wire = Vec::new();
        let mut writer = ItemWriter::new(&mut wire);
        entries.iter().for_each(|entry| writer.item(&Item::Entry(entry.clone())).unwrap());
        writer.end(Ok(())).unwrap();
        drop(writer);
        let target = open(directory.path(), OFlags::PATH, Mode::empty()).unwrap();
        let mut warn = |_| ();
        let mut tree = TreeWriter::new(target, POLICY, &mut warn).within(b"asked");
        tree.write_all(&mut ItemReader::new(wire.as_slice()))
    };
    written(&[entry("asked", Kind::Directory), entry("asked/f", Kind::File(0))]).unwrap();
    for bad in [entry(".bashrc", Kind::File(0)), entry("asked2", Kind::Fifo), entry("", Kind::Directory)] {
        assert!(written(&[bad]).is_err());
    }
    assert!(written(&[entry("asked/link", Kind::HardLink(b"secret".to_vec()))]).is_err());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn links_within_are_followed_where_they_may() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("usr/lib")).unwrap();
    symlink("usr/lib", at("lib")).unwrap();
    symlink("/usr/lib", at("lib64")).unwrap();
    let under = |path: &str| [entry(path, Kind::File(3))];
    assert!(write(directory.path(), &under("lib/a")).is_err());
    let beneath = Policy { links: Links::Beneath, ..POLICY };
    write_with(beneath, directory.path(), &under("lib/a"), b"abc").0.unwrap();
    assert!(write_with(beneath, directory.path(), &under("lib64/b"), b"abc").0.is_err());
    let root = Policy { links: Links::Root, ..POLICY };
    write_with(root, directory.path(), &under("lib64/b"), b"abc").0.unwrap();
    assert_eq!(fs::read_dir(at("usr/lib")).unwrap().count(), 2);
}

#[test]
fn directories_and_files_do_not_replace_one_another() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("d")).unwrap();
    fs::write(directory.path().join("f"), "kept").unwrap();
    let error = write(directory.path(), &[entry("d", Kind::File(0))]).unwrap_err().to_string();
    assert_eq!(error, "‘d’ is a directory, and what would take its place is none");
    let error = write(directory.path(), &[entry("f", Kind::Directory)]).unwrap_err().to_string();
    assert_eq!(error, "‘f’ is no directory, and one would take its place");
}

#[test]
fn directories_that_did_not_come_are_made_and_existing_ones_filled() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("old")).unwrap();
    fs::write(directory.path().join("old/kept"), "kept").unwrap();
    let entries =
        [entry("a/b/c", Kind::File(3)), entry("old", Kind::Directory), entry("old/new", Kind::File(3))];
    write(directory.path(), &entries).unwrap();
    assert!(directory.path().join("a/b/c").exists() && directory.path().join("old/kept").exists());
    assert_eq!(fs::metadata(directory.path().join("old")).unwrap().mode() & 0o777, 0o751);
}

#[test]
fn a_full_disk_is_told() {
    let full = open("/dev/full", OFlags::WRONLY, Mode::empty()).unwrap();
    let error = write_all(&full, b"x").to("write", b"f").unwrap_err().to_string();
    assert_eq!(error, "cannot write ‘f’: No space left on device");
}

#[test]
fn what_was_made_is_finished_when_the_rest_does_not_come() {
    let directory = tempfile::tempdir().unwrap();
    let mut wire = Vec::new();
    let mut writer = ItemWriter::new(&mut wire);
    writer.item(&Item::Entry(entry("d", Kind::Directory))).unwrap();
    writer.end(Err("it burns")).unwrap();
    drop(writer);
    let target = open(directory.path(), OFlags::PATH, Mode::empty()).unwrap();
    let written = TreeWriter::new(target, POLICY, &mut drop).write_all(&mut ItemReader::new(wire.as_slice()));
    assert_eq!(written.unwrap_err().to_string(), "it burns");
    assert_eq!(fs::metadata(directory.path().join("d")).unwrap().permissions().mode() & 0o777, 0o751);
}

#[test]
fn owners_and_devices_are_for_those_who_may() {
    assert_eq!(fs::metadata("/proc/self").unwrap().uid(), 0, "this test takes root");
    let directory = tempfile::tempdir().unwrap();
    let policy = Policy { owners: true, special_modes: true, devices: true, ..POLICY };
    let mut file = entry("f", Kind::File(3));
    (file.uid, file.gid) = (1234, 70_000);
    let (written, _) =
        write_with(policy, directory.path(), &[file, entry("n", Kind::CharacterDevice(1, 3))], b"abc");
    written.unwrap();
    let seen = fs::metadata(directory.path().join("f")).unwrap();
    assert_eq!((seen.uid(), seen.gid(), seen.mode() & 0o7777), (1234, 70_000, 0o4751));
    assert_eq!(fs::metadata(directory.path().join("n")).unwrap().rdev(), makedev(1, 3));
}
