use guest_protocol::files::ItemReader;

use super::*;

fn archive(name: &str, kind: ::tar::EntryType, link: &str) -> Vec<u8> {
    let mut header = ::tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(7);
    header.set_gid(7);
    header.set_mtime(0);
    header.set_size(if kind == ::tar::EntryType::Regular { 3 } else { 0 });
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    if kind == ::tar::EntryType::Regular {
        bytes.extend_from_slice(b"abc");
        bytes.resize(1024, 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn sent(archive: &[u8]) -> Result<Vec<Entry>> {
    let mut wire = Vec::new();
    let mut writer = ItemWriter::new(&mut wire);
    send_archive(archive, &mut writer)??;
    writer.end(Ok(()))?;
    drop(writer);
    let mut reader = ItemReader::new(wire.as_slice());
    let mut entries = Vec::new();
    while let Some(entry) = reader.entry(&mut drop)? {
        entries.push(entry);
    }
    Ok(entries)
}

#[test]
fn an_archive_is_sent_with_its_owners() {
    let entries = sent(&archive("./d//file", ::tar::EntryType::Regular, "")).unwrap();
    assert_eq!((&*entries[0].path, &entries[0].kind, entries[0].uid), (&b"d/file"[..], &Kind::File(3), 7));
}

#[test]
fn entries_that_lead_away_are_refused() {
    for (name, kind, link) in [
        ("../etc/passwd", ::tar::EntryType::Regular, ""),
        ("a/../../b", ::tar::EntryType::Regular, ""),
        ("a", ::tar::EntryType::Link, "../b"),
        (".", ::tar::EntryType::Regular, ""),
    ] {
        let error = sent(&archive(name, kind, link)).unwrap_err();
        assert!(format!("{error:#}").contains("refused"), "{name}: {error:#}");
    }
    // Absolute is as good as relative: below the directory.
    let entries = sent(&archive("/etc/x", ::tar::EntryType::Regular, "")).unwrap();
    assert_eq!(entries[0].path, b"etc/x");
}

#[test]
fn what_is_no_archive_is_said_so() {
    let error = format!("{:#}", sent(&[b'x'; 2048]).unwrap_err());
    assert!(error.starts_with("cannot read the archive: no tar archive"), "{error}");
    let cut = archive("f", ::tar::EntryType::Regular, "");
    assert!(sent(&cut[..514]).is_err());
}
