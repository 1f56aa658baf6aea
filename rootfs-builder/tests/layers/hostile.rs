//! Archives that lie. Each is refused with one line that names the entry, or read as other readers do.

use super::archive::{Entry, archive, header};
use super::disk::Disk;
use rootfs_builder::layer::{Limits, build};
use std::path::Path;
use std::time::{Duration, Instant};

/// What is said about a stack that has to be refused.
fn refusal(tars: &[Vec<u8>]) -> String {
    let said = match Disk::new(tars) {
        Ok(_) => panic!("it was taken"),
        Err(failure) => failure.to_string(),
    };
    assert!(!said.contains('\n') && said.len() < 500, "{said}");
    said
}

fn refused(entries: &[Entry], words: &[&str]) {
    let said = refusal(&[archive(entries)]);
    for word in words {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn names_that_lead_out() {
    refused(&[Entry::file("../x", "")], &["`../x`", "out of the root"]);
    refused(&[Entry::file("a/../../x", "")], &["`a/../../x`"]);
    refused(&[Entry::hard_link("h", "../../etc/shadow")], &["../../etc/shadow"]);
}

#[test]
fn absolute_names_are_relative_to_the_root_and_the_last_entry_wins() {
    let disk = Disk::new(&[archive(&[
        Entry::file("/etc/x", "first"),
        Entry::file("etc/x", "second"),
        Entry::directory("/"),
    ])])
    .unwrap();
    let mount = disk.check().mount();
    assert_eq!(std::fs::read(mount.path().join("etc/x")).unwrap(), b"second");
}

#[test]
fn hard_links_to_nothing_in_loops_and_to_directories() {
    refused(&[Entry::hard_link("h", "nothing")], &["`h`", "`nothing`", "does not exist"]);
    refused(&[Entry::hard_link("h", "h")], &["`h`", "does not exist"]);
    refused(&[Entry::hard_link("a", "b"), Entry::hard_link("b", "a")], &["`a`", "`b`"]);
    refused(&[Entry::directory("d"), Entry::hard_link("h", "d")], &["`h`", "a directory"]);
    refused(&[Entry::hard_link("h", "/")], &["`h`", "a directory"]);
}

#[test]
fn parents_that_cannot_be() {
    refused(&[Entry::file("f", ""), Entry::file("f/below", "")], &["`f/below`", "`f`", "no directory"]);
    let turning = [Entry::symlink("a", "b"), Entry::symlink("b", "a"), Entry::file("a/x", "")];
    refused(&turning, &["`a/x`", "loop"]);
    refused(&[Entry::symlink("s", "s/s"), Entry::file("s/x", "")], &["`s/x`", "loop"]);
    refused(&[Entry::file(".", "")], &["`.`", "root"]);
    let long = "x".repeat(300);
    refused(&[Entry::symlink("s", &long), Entry::file("s/x", "")], &["`s/x`", "255"]);
}

#[test]
fn sizes_that_lie() {
    refused(&[Entry { size: Some(-5), ..Entry::file("f", "") }], &["`f`", "negative"]);
    refused(&[Entry { size: Some(1 << 32), ..Entry::file("f", "abc") }], &["`f`", "ends in the middle"]);
    let pax = vec![(b"size".to_vec(), b"18446744073709551615".to_vec())];
    refused(&[Entry { pax, ..Entry::file("f", "abc") }], &["`f`"]);
    let pax = vec![(b"size".to_vec(), b"-1".to_vec())];
    refused(&[Entry { pax, ..Entry::file("f", "abc") }], &["negative"]);
}

#[test]
fn headers_that_are_none() {
    let mut tar = archive(&[Entry::file("one", ""), Entry::file("two", "")]);
    tar[512 + 110] ^= 1;
    let said = refusal(&[tar]);
    assert!(said.contains("`two`") && said.contains("checksum"), "{said}");
    assert!(refusal(&[vec![b'x'; 4096]]).contains("no tar archive"));
    assert!(refusal(&[vec![b'x'; 100]]).contains("ends in the middle"));
    refused(&[Entry::new(b'Q', "odd")], &["`odd`", "'Q'"]);
    refused(
        &[Entry { pax: vec![(b"mtime".to_vec(), b"noon".to_vec())], ..Entry::file("f", "") }],
        &["mtime"],
    );
    let bad = vec![(b"uid".to_vec(), b"4294967296".to_vec())];
    refused(&[Entry { pax: bad, ..Entry::file("f", "") }], &["uid"]);
    refused(&[Entry { device: (4096, 0), ..Entry::new(b'3', "dev/x") }], &["`dev/x`", "device number"]);
}

#[test]
fn archives_that_end_too_early() {
    let tar = archive(&[Entry::directory("d"), Entry::file("d/f", vec![1; 5000])]);
    for length in [513, 1000, 1030, 5000] {
        assert!(refusal(&[tar[..length].to_vec()]).contains("ends in the middle"), "{length}");
    }
    // Without its closing blocks an archive is whole all the same.
    let whole = tar.len() - 1024;
    Disk::new(&[tar[..whole].to_vec()]).unwrap();
    let mut pax_only = Vec::new();
    header(&Entry::file("pax", ""), b'x', &mut pax_only);
    assert!(refusal(&[pax_only]).contains("ends in the middle"));
}

#[test]
fn names_and_targets_that_are_too_long_or_empty() {
    refused(&[Entry::file("x".repeat(256), "")], &["255"]);
    refused(&[Entry::file("x/".repeat(2100), "")], &["4095"]);
    refused(&[Entry::symlink("s", "")], &["`s`", "target"]);
    refused(&[Entry::symlink("s", "x".repeat(4096))], &["`s`", "4095"]);
    refused(&[Entry::whiteout("d/", "")], &["whiteout of nothing"]);
    refused(&[Entry::whiteout("d/", "..")], &["whiteout of nothing"]);
    let pax = vec![(b"path".to_vec(), b"a\0b".to_vec())];
    refused(&[Entry { pax, ..Entry::file("f", "") }], &["NUL"]);
    let pax = vec![(b"comment".to_vec(), vec![b'x'; 2 << 20])];
    refused(&[Entry { pax, ..Entry::file("f", "") }], &["PAX header", "limit"]);
}

fn sparse(size: &str, map: &str, content: &[u8]) -> Entry {
    let record =
        |key: &str, value: &str| (format!("GNU.sparse.{key}").into_bytes(), value.as_bytes().to_vec());
    let pax = vec![record("map", map), record("size", size), record("numblocks", "1")];
    Entry { pax, ..Entry::file("s", content) }
}

#[test]
fn sparse_maps_that_lie() {
    for (size, map, content) in [
        ("100", "0,10", &b"short"[..]),
        ("100", "0,3,2,3", b"abcdef"),
        ("5", "0,6", b"abcdef"),
        ("100", "50,3,0,3", b"abcdef"),
        ("100", "0,3,5", b"abc"),
        ("100", "0,18446744073709551615", b"abc"),
        ("100", "18446744073709551615,3", b"abc"),
    ] {
        refused(&[sparse(size, map, content)], &["sparse map"]);
    }
    // A last hole over the limit.
    refused(&[sparse("99999999999999", "0,3", b"abc")], &["`s`", "holes", "limit"]);
}

#[test]
fn limits_are_said() {
    let file = || tempfile::tempfile().unwrap();
    let tar = archive(&[Entry::file("a", vec![1; 9000]), Entry::file("b", ""), Entry::file("c", "")]);
    let limits = Limits { entries: 2, ..Limits::default() };
    let said = build(&tar[..], file(), file(), &limits).unwrap_err().to_string();
    assert!(said.contains("2 entries, the limit"), "{said}");
    let limits = Limits { data_bytes: 8192, ..Limits::default() };
    let said = build(&tar[..], file(), file(), &limits).unwrap_err().to_string();
    assert!(said.contains("8192 bytes of data, the limit"), "{said}");
}

/// What takes a second here would take hours in an archive of a few megabytes.
#[test]
fn crowded_headers_cost_little() {
    let begin = Instant::now();
    let names = |n: u32| (format!("x.{n}").into_bytes(), Vec::new());
    let crowded = Entry { xattrs: (0..40_000).map(names).collect(), ..Entry::file("f", "") };
    let disk = Disk::new(&[archive(&[crowded])]).unwrap();
    assert_eq!(disk.layers[0].warnings.len(), 51);
    assert_eq!(disk.layers[0].warnings[50], "39950 more warnings");

    let long = "./".repeat(2000) + "s";
    let links = Entry::symlink("s", &long[..4000]);
    let through: Vec<Entry> = (0..500).map(|n| Entry::file(format!("{}{n}", "s/".repeat(30)), "")).collect();
    Disk::new(&[archive(&[vec![links], through].concat())]).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
}

#[test]
fn the_stream_is_read_to_its_end() {
    let mut tar = archive(&[Entry::file("a", "x")]);
    tar.extend_from_slice(&[7; 100_000]);
    let mut rest = &tar[..];
    build(&mut rest, tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap(), &Limits::default())
        .unwrap();
    assert!(rest.is_empty());
    let disk = Disk::new(&[tar]).unwrap();
    assert!(disk.mount().path().join("a").exists());
    assert!(Path::new(&disk.image()).exists());
}
