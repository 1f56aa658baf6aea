use super::*;
use crate::layer::tar::Xattr;
use std::io::{Read, Seek};

fn attributes(seconds: i64) -> Attributes {
    Attributes { mode: 0o4755, uid: u32::MAX, gid: 7, mtime: Time { seconds, nanoseconds: 999_999_999 } }
}

fn bodies() -> Vec<(&'static [u8], Body<'static>)> {
    let settled = Place::Settled { block: 1, offset: 4064 };
    let plain = Place::Plain { block: u32::MAX };
    vec![
        (b"", Body::Directory),
        (b"usr", Body::Directory),
        (b"usr/bin/x", Body::File { size: u64::MAX, place: plain }),
        (b"usr/bin/\xff", Body::File { size: 3, place: settled }),
        (b"usr/link", Body::Symlink { target: b"bin/x", place: settled }),
        (b"dev/null", Body::CharacterDevice { number: 259, place: settled }),
        (b"dev/sda", Body::BlockDevice { number: 2048, place: plain }),
        (b"fifo", Body::Fifo { place: settled }),
        (b"hard", Body::HardLink { target: b"usr/bin/x" }),
        (b"usr/gone", Body::Whiteout),
        (b"usr/lib", Body::Opaque),
    ]
}

fn xattrs() -> Vec<Xattr> {
    vec![
        Xattr { name: b"user.a".to_vec(), value: vec![0; 300] },
        Xattr { name: b"user.b".to_vec(), value: vec![] },
    ]
}

fn written() -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    let mut table = TableWriter::new(file.try_clone().unwrap()).unwrap();
    for (number, (path, body)) in bodies().iter().enumerate() {
        let xattrs = if number % 2 == 0 { xattrs() } else { Vec::new() };
        table.add(path, body, &attributes(number as i64 - 5), &xattrs).unwrap();
    }
    table.finish(&[10, 20], 1 << 20, [9; 16]).unwrap();
    let mut content = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut content).unwrap();
    content
}

#[test]
fn records_come_back_as_they_were() {
    let table = Table::parse(written()).unwrap();
    assert_eq!((table.data_bytes(), table.entries()), (1 << 20, 11));
    assert_eq!((table.inode_block(1), table.inode_block(2)), (Ok(20), Err(Damage::Record)));
    let mut records = table.records();
    for (number, (path, body)) in bodies().into_iter().enumerate() {
        let record = records.advance().unwrap().unwrap();
        assert_eq!((record.path, record.body), (path, body));
        if body.has_attributes() {
            assert_eq!(record.attributes, attributes(number as i64 - 5));
            let expected = if number % 2 == 0 { xattrs() } else { Vec::new() };
            let pairs = decode_xattrs(record.xattrs).unwrap();
            assert!(
                pairs.into_iter().eq(expected.iter().map(|Xattr { name, value }| (&name[..], &value[..])))
            );
        }
    }
    assert_eq!(records.advance(), Ok(None));
}

#[test]
fn damage_is_noticed() {
    let whole = written();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        assert!(Table::parse(damaged).is_err(), "byte {at}");
        assert!(Table::parse(whole[..at].to_vec()).is_err(), "cut at {at}");
    }
}

/// Even a table that was made to deceive, with checksums that fit, is read without harm.
#[test]
fn malformed_records_are_errors() {
    let whole = Table::parse(written()).unwrap();
    for at in 0..whole.content.len() - HEADER {
        for change in [1, 0x80, 0xff] {
            let mut content = whole.content.clone();
            content[HEADER + at] ^= change;
            let table = Table { content, header: whole.header.clone() };
            let mut records = table.records();
            let mut count = 0;
            while let Ok(Some(record)) = records.advance() {
                let _ = decode_xattrs(record.xattrs);
                count += 1;
                assert!(count < 1000);
            }
        }
    }
}
