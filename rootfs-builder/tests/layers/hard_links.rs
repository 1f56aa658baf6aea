//! Hard links: to what lower layers have, to what is left out, to what is never shown.

use super::archive::{Entry, archive};
use super::by_hand::{paths, show};
use super::disk::Disk;
use std::path::Path;

#[test]
fn hard_links_reach_into_lower_layers_and_outlive_what_they_name() {
    let files = show(&[
        vec![
            Entry::file("small", "tiny"),
            Entry::file("big", vec![3; 9000]),
            Entry::symlink("link", "small"),
        ],
        vec![
            Entry::hard_link("small2", "small"),
            Entry::hard_link("./big2", "/big"),
            Entry::hard_link("link2", "link"),
        ],
        vec![
            Entry::whiteout("", "small"),
            Entry::file("big", "replaced"),
            Entry::hard_link("small3", "small2"),
        ],
    ]);
    let file = |path: &str| &files[Path::new(path)];
    assert_eq!((&file("small2").content[..], file("small2").nlink), (&b"tiny"[..], 2));
    assert_eq!(file("small3").first_link, Path::new("small2"));
    assert_eq!((&file("big2").content, file("big2").nlink), (&vec![3; 9000], 1));
    assert_eq!((&file("big").content[..], file("big").nlink), (&b"replaced"[..], 1));
    assert_eq!((file("link2").target.as_path(), file("link2").nlink), (Path::new("small"), 2));
    assert!(!files.contains_key(Path::new("small")));
}

/// In a tar of overlay's upper directories all whiteouts are one inode, so most of them are hard links.
#[test]
fn hard_links_to_what_is_left_out_are_left_out() {
    let layer = vec![
        Entry::new(b'3', "gone"),
        Entry::hard_link("also-gone", "./gone"),
        Entry::hard_link("again", "also-gone"),
        Entry::file("d/.wh..wh.orph/7", "AUFS"),
        Entry::hard_link("orphan", "d/.wh..wh.orph/7"),
        Entry::file("kept", "k"),
        Entry::new(b'3', "replaced"),
        Entry::file("replaced", "r"),
        Entry::hard_link("linked", "replaced"),
    ];
    let disk = Disk::new(&[archive(&layer)]).unwrap();
    let files = show(std::slice::from_ref(&layer));
    assert_eq!(paths(&files), ["", "kept", "linked", "replaced"]);
    let warnings = &disk.layers[0].warnings;
    assert_eq!(warnings.len(), 5, "{warnings:?}");
    assert_eq!(warnings[1], "`also-gone`: left out: a hard link to `gone`, which is");
}

/// AUFS keeps files with several names in a directory of its own.
#[test]
fn hard_links_to_aufs_own_files_are_files() {
    let layer = vec![
        Entry::directory(".wh..wh.plnk"),
        Entry::file(".wh..wh.plnk/10.1", "two names"),
        Entry { mode: 0o4755, ..Entry::file(".wh..wh.plnk/11.1", vec![5; 9000]) },
        Entry::file(".wh..wh.plnk/12.1", "no name"),
        Entry::hard_link("one", ".wh..wh.plnk/10.1"),
        Entry::hard_link("two", "/.wh..wh.plnk/10.1"),
        Entry::hard_link("big", ".wh..wh.plnk/11.1"),
    ];
    let files = show(&[layer, vec![Entry::hard_link("three", "one")]]);
    assert_eq!(paths(&files), ["", "big", "one", "three", "two"]);
    let file = |path: &str| &files[Path::new(path)];
    assert_eq!((&file("two").content[..], file("two").nlink), (&b"two names"[..], 3));
    assert_eq!((file("big").content.len(), file("big").nlink, file("big").mode), (9000, 1, 0o104755));
}
