use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use guest_protocol::files::ItemReader;
use rustix::fs::{CWD, open};

use super::*;

fn read_tree(directory: &Path, leave_out: &dyn Fn(&[u8]) -> bool) -> Vec<Item> {
    let mut wire = Vec::new();
    let mut writer = ItemWriter::new(&mut wire);
    let root = open(directory, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let mut reader = TreeReader::new(&mut writer, |name| name.starts_with(b"user.")).leaving_out(leave_out);
    reader.tree(root.as_fd(), c"", b"").unwrap();
    assert!(!names(root.as_fd()).unwrap().is_empty());
    writer.end(Ok(())).unwrap();
    drop(writer);
    let mut reader = ItemReader::new(wire.as_slice());
    let mut items = Vec::new();
    while items.last() != Some(&Item::Done) {
        items.push(reader.item().unwrap());
    }
    items
}

fn entries(items: &[Item]) -> Vec<(String, Kind)> {
    let entry = |item: &Item| match item {
        Item::Entry(entry) => Some((String::from_utf8(entry.path.clone()).unwrap(), entry.kind.clone())),
        _ => None,
    };
    items.iter().filter_map(entry).collect()
}

#[test]
fn a_tree_is_sent_in_order_and_links_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("d/e")).unwrap();
    fs::write(at("d/file"), "content").unwrap();
    fs::hard_link(at("d/file"), at("z")).unwrap();
    symlink("/nowhere", at("d/e/link")).unwrap();
    fs::write(at("left-out"), "").unwrap();
    rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let items = read_tree(directory.path(), &|path| path == b"left-out");
    let expected = [
        ("", Kind::Directory),
        ("d", Kind::Directory),
        ("d/e", Kind::Directory),
        ("d/e/link", Kind::Symlink(b"/nowhere".to_vec())),
        ("d/file", Kind::File(7)),
        ("fifo", Kind::Fifo),
        ("z", Kind::HardLink(b"d/file".to_vec())),
    ];
    assert_eq!(entries(&items), expected.map(|(path, kind)| (path.to_owned(), kind)));
}

#[test]
fn sockets_are_left_out_with_a_word() {
    let directory = tempfile::tempdir().unwrap();
    let _socket = UnixListener::bind(directory.path().join("s")).unwrap();
    let items = read_tree(directory.path(), &|_| false);
    assert_eq!(entries(&items).len(), 1);
    assert!(items.contains(&Item::Warning("‘s’ is a socket and was left out".into())));
}

#[test]
fn files_of_proc_have_their_content() {
    let mut wire = Vec::new();
    let mut writer = ItemWriter::new(&mut wire);
    let proc = open("/proc/self", OFlags::PATH, Mode::empty()).unwrap();
    TreeReader::new(&mut writer, |_| false).tree(proc.as_fd(), c"status", b"status").unwrap();
    writer.end(Ok(())).unwrap();
    drop(writer);
    assert!(String::from_utf8_lossy(&wire).contains("\nPid:\t"));
}

/// Its size is seen before it is cut, for the writer's buffer is full and is emptied in between.
#[test]
fn a_file_that_shrinks_keeps_its_announced_size() {
    struct Shrinking<'a> {
        file: &'a Path,
        seen: Vec<u8>,
    }
    impl Write for Shrinking<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            fs::File::options().write(true).open(self.file)?.set_len(100_000)?;
            self.seen.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, vec![b'x'; 1 << 20]).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let mut writer = ItemWriter::new(Shrinking { file: &file, seen: Vec::new() });
    let parent = open(directory.path(), OFlags::PATH, Mode::empty()).unwrap();
    TreeReader::new(&mut writer, |_| false).tree(parent.as_fd(), c"file", b"file").unwrap();
    writer.end(Ok(())).unwrap();
    let wire = writer.target().seen.clone();
    let mut reader = ItemReader::new(wire.as_slice());
    let Item::Entry(entry) = reader.item().unwrap() else { panic!() };
    assert_eq!((entry.kind, entry.mode), (Kind::File(1 << 20), 0o640));
    let (mut content, mut piece) = (Vec::new(), [0; 4096]);
    while let count @ 1.. = reader.data(&mut piece).unwrap() {
        content.extend_from_slice(&piece[..count]);
    }
    assert_eq!(content.len(), 1 << 20);
    assert_eq!(content.last(), Some(&0));
    let Item::Warning(text) = reader.item().unwrap() else { panic!() };
    assert!(text.contains("became shorter"), "{text}");
    assert_eq!(reader.item().unwrap(), Item::Done);
}

/// Who holds a lease is asked to let go; who does not has his file left out, and only that.
#[test]
fn leases_are_waited_for_and_no_longer_than_that() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("leased");
    fs::write(&path, "content").unwrap();
    fs::hard_link(&path, directory.path().join("other")).unwrap();
    fs::write(directory.path().join("z"), "z").unwrap();
    // Its holder is told by a signal that would end the test.
    // SAFETY: no handler is installed, and no other test uses this signal.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    let leased = || {
        let file = fs::File::open(&path).unwrap();
        let write_lease = fs::File::options().write(true).open(&path).unwrap();
        drop(file);
        // SAFETY: F_SETLEASE takes two numbers.
        assert_eq!(unsafe { libc::fcntl(write_lease.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) }, 0);
        write_lease
    };
    let read = |patience| {
        let mut wire = Vec::new();
        let mut writer = ItemWriter::new(&mut wire);
        let root = open(directory.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let mut reader = TreeReader { patience, ..TreeReader::new(&mut writer, |_| false) };
        reader.below(root.as_fd(), b"").unwrap();
        writer.end(Ok(())).unwrap();
        drop(writer);
        wire
    };
    let kinds = |wire: Vec<u8>| {
        let mut reader = ItemReader::new(wire.as_slice());
        let mut warnings = 0;
        let mut kinds = Vec::new();
        while let Some(entry) = reader.entry(&mut |_| warnings += 1).unwrap() {
            kinds.push(entry.kind);
        }
        (kinds, warnings)
    };
    let lease = leased();
    assert_eq!(kinds(read(Duration::from_millis(50))), (vec![Kind::File(1)], 2));
    drop(lease);
    let lease = leased();
    let holder = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(lease);
    });
    let both = vec![Kind::File(7), Kind::HardLink(b"leased".to_vec()), Kind::File(1)];
    assert_eq!(kinds(read(Duration::from_secs(20))), (both, 0));
    holder.join().unwrap();
}
