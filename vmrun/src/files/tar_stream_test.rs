use std::io::Read;

use guest_protocol::files::{Entry, Item, ItemWriter, Kind, Time, Xattr};

use super::*;

fn entry(path: &[u8], kind: Kind) -> Entry {
    let modified = Time { seconds: 1_700_000_000, nanoseconds: 5 };
    Entry { path: path.into(), kind, mode: 0o644, uid: 0, gid: 3_000_000, modified, xattrs: Vec::new() }
}

fn wire(entries: &[Entry], end: std::result::Result<(), &str>) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut writer = ItemWriter::new(&mut wire);
    for entry in entries {
        writer.item(&Item::Entry(entry.clone())).unwrap();
        writer.data(&vec![b'x'; entry.size() as usize]).unwrap();
    }
    writer.end(end).unwrap();
    drop(writer);
    wire
}

/// By the reader of layers, which is not of the same making.
#[test]
fn everything_is_in_the_archive() {
    let long = vec![b'n'; 200];
    let mut capable = entry(b"d/file", Kind::File(1000));
    capable.xattrs = vec![Xattr { name: b"security.capability".to_vec(), value: vec![0, b'\n', 255] }];
    let sent = [
        entry(b"d", Kind::Directory),
        capable,
        entry(&long, Kind::Symlink(vec![b'l'; 300])),
        entry(b"hard", Kind::HardLink(b"d/file".to_vec())),
        entry(b"null", Kind::CharacterDevice(1, 3)),
        entry(b"not-utf8\xff", Kind::Fifo),
    ];
    let wire = wire(&sent, Ok(()));
    let mut archive = Vec::new();
    TarStream::new(ItemReader::new(wire.as_slice()), &mut drop).read_to_end(&mut archive).unwrap();
    assert_eq!(archive.len() % BLOCK, 0);
    let mut tar = rootfs_builder::layer::tar::TarReader::new(archive.as_slice());
    for sent in &sent {
        let found = tar.next_entry().unwrap().unwrap();
        let path = found.path.strip_suffix(b"/").unwrap_or(&found.path);
        assert_eq!(path, sent.path);
        assert_eq!((found.gid, found.mtime.seconds, found.mtime.nanoseconds), (3_000_000, 1_700_000_000, 5));
        assert_eq!(found.size, sent.size());
        assert_eq!(found.xattrs.len(), sent.xattrs.len());
        match &sent.kind {
            Kind::Symlink(target) | Kind::HardLink(target) => assert_eq!(&found.link, target),
            Kind::CharacterDevice(..) => assert_eq!(found.device, (1, 3)),
            Kind::File(_) => {
                assert_eq!(found.xattrs[0].value, [0, b'\n', 255]);
                assert!(tar.content().unwrap().starts_with(b"xxx"));
            }
            _ => {}
        }
    }
    assert!(tar.next_entry().unwrap().is_none());
}

#[test]
fn an_answer_that_stops_is_no_archive() {
    let wire = wire(&[entry(b"f", Kind::File(3))], Err("it burns"));
    let mut warn = |_| ();
    let mut stream = TarStream::new(ItemReader::new(wire.as_slice()), &mut warn);
    assert!(stream.read_to_end(&mut Vec::new()).is_err());
    assert!(stream.read(&mut [0]).is_err());
    assert_eq!(stream.stopped.unwrap().to_string(), "it burns");
    for end in 0..wire.len() {
        let mut warn = |_| ();
        let mut stream = TarStream::new(ItemReader::new(&wire[..end]), &mut warn);
        assert!(stream.read_to_end(&mut Vec::new()).is_err(), "cut at {end}");
    }
}
