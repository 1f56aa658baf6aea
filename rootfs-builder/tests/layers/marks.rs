//! Whiteouts and opaque marks, written by hand.

use super::archive::{Entry, archive};
use super::by_hand::{paths, show};
use super::disk::Disk;
use super::snapshot::differences;
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn whiteouts_act_on_lower_layers_wherever_the_archive_has_them() {
    let below = vec![Entry::file("d/old", "1"), Entry::file("d/both", "1"), Entry::file("gone", "1")];
    let upper = vec![
        Entry::directory("d"),
        Entry::file("d/both", "2"),
        Entry::file("d/.wh..wh..opq", ""),
        Entry::file("d/new", "2"),
        Entry::whiteout("", "gone"),
        Entry::whiteout("", "never-was"),
        Entry::whiteout("no/such/", "directory"),
        Entry::file("d/.wh..wh.plnk/7.1", "AUFS"),
    ];
    let mut backwards = upper.clone();
    backwards.reverse();
    let files = show(&[below.clone(), upper]);
    assert_eq!(paths(&files), ["", "d", "d/both", "d/new"]);
    assert_eq!(files[Path::new("d/both")].content, b"2");
    assert!(differences(&files, &show(&[below, backwards])).is_empty());
}

/// `rm /lib; mkdir /lib; touch /lib/x` where `/lib` was a link to `/usr/lib`: that stays what it is, whatever the
/// order in the archive.
#[test]
fn a_directory_in_the_place_of_a_link_hides_nothing_of_its_target() {
    let below = vec![
        Entry::file("usr/lib/libc.so", "c"),
        Entry::file("usr/lib/deep/er", "d"),
        Entry::symlink("lib", "usr/lib"),
    ];
    let upper = vec![
        Entry::directory("lib"),
        Entry::file("lib/.wh..wh..opq", ""),
        Entry::whiteout("lib/", "libc.so"),
        Entry::whiteout("lib/deep/", "er"),
        Entry::file("lib/deep/.wh..wh..opq", ""),
        Entry::file("lib/x", "x"),
    ];
    let all = ["", "lib", "lib/x", "usr", "usr/lib", "usr/lib/deep", "usr/lib/deep/er"];
    for turn in 0..upper.len() {
        let mut turned = upper.clone();
        turned.rotate_left(turn);
        // A file that comes before its directory is put into the link's target, by everybody.
        let [directory, file] =
            ["lib", "lib/x"].map(|path| turned.iter().position(|e| e.path == path.as_bytes()));
        if directory > file {
            turned.swap(directory.unwrap(), file.unwrap());
        }
        let files = show(&[below.clone(), turned.clone()]);
        assert_eq!(paths(&files), [&all[..], &["usr/lib/libc.so"]].concat(), "{turned:#?}");
    }
    let back = vec![Entry::whiteout("lib/", "x"), Entry::symlink("lib", "usr/lib")];
    let files = show(&[below.clone(), upper, back]);
    assert_eq!(files[Path::new("lib")].target, Path::new("usr/lib"));
    assert_eq!(files[Path::new("usr/lib/libc.so")].content, b"c");
    // Where the layer has nothing in a link's place, the mark is the target's.
    let files = show(&[below, vec![Entry::file("lib/.wh..wh..opq", ""), Entry::file("lib/new", "n")]]);
    assert_eq!(paths(&files), ["", "lib", "usr", "usr/lib", "usr/lib/new"]);
}

/// Each would be gone through for each of the marks.
#[test]
fn many_marks_in_a_large_directory() {
    let begin = Instant::now();
    let files =
        |layer: &str| (0..40_000).map(|n| Entry::file(format!("d/{layer}{n}"), "")).collect::<Vec<_>>();
    let marks = (0..40_000).map(|_| Entry::file("d/.wh..wh..opq", ""));
    let whiteouts = (0..40_000).map(|_| Entry::whiteout("", "d"));
    let upper: Vec<Entry> = files("upper").into_iter().chain(marks).chain(whiteouts).collect();
    let disk = Disk::new(&[archive(&files("lower")), archive(&upper)]).unwrap();
    assert_eq!(disk.metadata.inodes, 40_002);
    assert!(begin.elapsed() < Duration::from_secs(100), "{:?}", begin.elapsed());
}
