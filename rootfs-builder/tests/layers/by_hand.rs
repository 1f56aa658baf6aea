//! Layers written by hand: what random ones seldom or never have.

use super::archive::{Entry, archive};
use super::disk::{Disk, run};
use super::snapshot::{Snapshot, differences, snapshot};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Builds, checks and mounts layers in every form, and shows what is there.
pub fn show(layers: &[Vec<Entry>]) -> Snapshot {
    let tars: Vec<Vec<u8>> = layers.iter().map(|layer| archive(layer)).collect();
    let disk = Disk::new(&tars).unwrap();
    let files = show_erofs(&disk);
    disk.check_ext4();
    for (form, mount) in [("ext4", disk.mount_ext4()), ("whole ext4", disk.mount_whole_ext4())] {
        let between = differences(&snapshot(mount.path()), &files);
        assert!(between.is_empty(), "{form}: {}", between.join("\n"));
    }
    files
}

/// As [`show`], of what only EROFS can hold.
fn show_erofs(disk: &Disk) -> Snapshot {
    disk.check();
    let mount = disk.mount();
    let files = snapshot(mount.path());
    let between = differences(&snapshot(disk.mount_flat().path()), &files);
    assert!(between.is_empty(), "flat: {}", between.join("\n"));
    files
}

pub fn paths(files: &Snapshot) -> Vec<String> {
    files.keys().map(|path| path.as_os_str().as_bytes().escape_ascii().to_string()).collect()
}

#[test]
fn an_image_of_nothing_is_an_empty_root() {
    for layers in [vec![], vec![vec![]], vec![vec![], vec![]]] {
        let files = show(&layers);
        assert_eq!(paths(&files), [""]);
        let root = &files[Path::new("")];
        assert_eq!((root.mode, root.uid, root.nlink, root.mtime), (0o040755, 0, 2, (0, 0)));
    }
}

/// fsck.erofs looks behind every inode, even the disk's last.
#[test]
fn an_inode_at_the_very_end() {
    for size in 3800..4032 {
        let tar = archive(&[Entry::file("f", vec![1; size]), Entry::new(b'6', "fifo"), Entry::file("g", "")]);
        Disk::new(&[tar]).unwrap().check();
    }
}

/// What a layer writes and the next removes takes no room in the flat file.
#[test]
fn the_flat_file_has_only_what_is_shown() {
    const LARGE: usize = 50 << 20;
    let noise = |length: usize| -> Vec<u8> {
        (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    };
    // Copied in several pieces, some of them zeroes.
    let mut long = noise(1 << 20);
    long[1 << 18..3 << 18].fill(0);
    let blocks = (1 << 20) / 4096;
    let layers = [
        vec![
            Entry::file("large", vec![7; LARGE]),
            Entry::file("replaced", noise(70_000)),
            Entry::file("kept", "1"),
        ],
        vec![
            Entry::whiteout("", "large"),
            Entry::file("replaced", noise(9_000)),
            Entry::file("long", long),
            Entry::file("small", "2"),
        ],
    ];
    assert_eq!(paths(&show(&layers)), ["", "kept", "long", "replaced", "small"]);
    let tars: Vec<Vec<u8>> = layers.iter().map(|layer| archive(layer)).collect();
    let disk = Disk::new(&tars).unwrap();
    assert!(fs::metadata(disk.image()).unwrap().len() > LARGE as u64);
    let flat = fs::metadata(disk.flat()).unwrap().len();
    assert_eq!(flat, (1 + 3 + blocks) * 4096, "inodes, 9000 bytes, the long file");
}

#[test]
fn parents_that_are_missing_are_made() {
    let files = show(&[vec![Entry::file("usr/share/doc/x", "x")]]);
    assert_eq!(paths(&files), ["", "usr", "usr/share", "usr/share/doc", "usr/share/doc/x"]);
    let made = &files[Path::new("usr/share")];
    assert_eq!((made.mode, made.uid, made.gid, made.nlink, made.mtime), (0o040755, 0, 0, 3, (0, 0)));
}

#[test]
fn any_type_replaces_any_other() {
    let kinds = |path: &str| -> Vec<Vec<Entry>> {
        vec![
            vec![Entry::file(path, "content")],
            vec![Entry::directory(path), Entry::file(format!("{path}/child"), "")],
            vec![Entry::symlink(path, "elsewhere")],
            vec![Entry { device: (1, 3), ..Entry::new(b'3', path) }],
            vec![Entry::new(b'6', path)],
        ]
    };
    for below in kinds("p") {
        for above in kinds("p") {
            let expected = show(std::slice::from_ref(&above));
            let files = show(&[below.clone(), above.clone()]);
            let mut wrong = differences(&files, &expected);
            // A directory over a directory keeps what was in it.
            wrong.retain(|line| !(below[0].kind == b'5' && above[0].kind == b'5' && line.contains("child")));
            assert!(wrong.is_empty(), "{below:?} {above:?} {wrong:?}");
        }
    }
}

#[test]
fn links_in_parents_are_followed_inside_the_root() {
    let files = show(&[
        vec![
            Entry::directory("usr/lib"),
            Entry::symlink("lib", "usr/lib"),
            Entry::symlink("out", "../../../../etc"),
            Entry::symlink("usr/absolute", "/var"),
        ],
        vec![
            Entry::file("lib/libc.so", "c"),
            Entry::file("out/passwd", "p"),
            Entry::file("usr/absolute/x/y", "y"),
        ],
    ]);
    for path in ["usr/lib/libc.so", "etc/passwd", "var/x/y"] {
        assert!(files.contains_key(Path::new(path)), "{path} in {:?}", paths(&files));
    }
    assert_eq!(files[Path::new("lib")].target, Path::new("usr/lib"));
}

#[test]
fn what_the_guests_overlay_would_obey_is_left_out_with_a_warning() {
    let opaque = (b"trusted.overlay.opaque".to_vec(), b"y".to_vec());
    let kept = (b"trusted.other".to_vec(), b"n".to_vec());
    let tar = archive(&[
        Entry { xattrs: vec![opaque, kept], ..Entry::directory("d") },
        Entry::new(b'3', "whiteout"),
        Entry { xattrs: vec![(b"system.nfs4_acl".to_vec(), b"?".to_vec())], ..Entry::file("f", "") },
    ]);
    let disk = Disk::new(&[tar]).unwrap();
    let mount = disk.check().mount();
    let files = snapshot(mount.path());
    assert_eq!(paths(&files), ["", "d", "f"]);
    assert_eq!(files[Path::new("d")].xattrs.len(), 1);
    assert!(files[Path::new("f")].xattrs.is_empty());
    assert_eq!(disk.layers[0].warnings.len(), 3, "{:?}", disk.layers[0].warnings);
    assert!(disk.layers[0].warnings.iter().all(|warning| warning.contains("left out")));
}

#[test]
fn large_directories_and_link_counts() {
    let mut entries: Vec<Entry> =
        (0..100_000).map(|number| Entry::file(format!("many/{number}"), number.to_string())).collect();
    entries.push(Entry::file("linked", "x"));
    entries.extend((0..70_000).map(|number| Entry::hard_link(format!("links/{number}"), "linked")));
    // With the time that most have, its inode could be a short one but for its link count.
    entries.push(Entry::directory("directories"));
    entries.extend((0..66_000).map(|number| Entry::directory(format!("directories/{number}"))));
    let disk = Disk::new(&[archive(&entries)]).unwrap();
    let refused = disk.try_ext4().err().unwrap().to_string();
    assert!(refused.contains("has 70001 names, over the 65000"), "{refused}");
    let mount = disk.check().mount();
    let path = |name: &str| mount.path().join(name);
    for (directory, count) in [("many", 100_000), ("links", 70_000), ("directories", 66_000)] {
        assert_eq!(fs::read_dir(path(directory)).unwrap().count(), count);
    }
    assert_eq!(fs::metadata(path("linked")).unwrap().nlink(), 70_001);
    assert_eq!(fs::metadata(path("directories")).unwrap().nlink(), 66_002);
    assert!(
        (0..100_000)
            .step_by(997)
            .all(|n| fs::read(path(&format!("many/{n}"))).unwrap() == n.to_string().as_bytes())
    );
}

#[test]
fn large_directories_and_link_counts_in_ext4() {
    let mut entries: Vec<Entry> =
        (0..100_000).map(|number| Entry::file(format!("many/{number}"), number.to_string())).collect();
    entries.push(Entry::file("linked", "x"));
    entries.extend((0..64_999).map(|number| Entry::hard_link(format!("links/{number}"), "linked")));
    entries.extend((0..66_000).map(|number| Entry::directory(format!("directories/{number}"))));
    let disk = Disk::new(&[archive(&entries)]).unwrap();
    let mount = disk.check_ext4().mount_ext4();
    let path = |name: &str| mount.path().join(name);
    for (directory, count) in [("many", 100_000), ("links", 64_999), ("directories", 66_000)] {
        assert_eq!(fs::read_dir(path(directory)).unwrap().count(), count);
    }
    assert_eq!(fs::metadata(path("linked")).unwrap().nlink(), 65_000);
    // More than it can count.
    assert_eq!(fs::metadata(path("directories")).unwrap().nlink(), 1);
    assert!(
        (0..100_000)
            .step_by(997)
            .all(|n| fs::read(path(&format!("many/{n}"))).unwrap() == n.to_string().as_bytes())
    );
}

/// More inodes than the blocks of ordinary groups could have, and none at all to speak of.
#[test]
fn files_without_content_in_ext4() {
    let entries: Vec<Entry> =
        (0..150_000).map(|number| Entry::file(format!("{}/{number}", number % 100), "")).collect();
    let disk = Disk::new(&[archive(&entries)]).unwrap();
    let mount = disk.check_ext4().mount_ext4();
    assert!(fs::read(mount.path().join("99/149999")).unwrap().is_empty());
    // Inodes, directories and no more.
    assert!(fs::metadata(disk.whole_ext4()).unwrap().len() < 150_000 * 300);
}

#[test]
fn extended_attributes_of_every_size() {
    let value = |length: usize| (0..length).map(|at| at as u8).collect::<Vec<u8>>();
    let named = |name: String, value: Vec<u8>| (name.into_bytes(), value);
    let many: Vec<_> = (0..300).map(|n| named(format!("user.number{n:03}"), value(n))).collect();
    let longest = vec![named("trusted.long".into(), value(65_535))];
    let disk = Disk::new(&[archive(&[
        Entry { xattrs: many.clone(), ..Entry::directory("one") },
        Entry { xattrs: many.clone(), ..Entry::directory("two") },
        Entry { xattrs: many.clone(), ..Entry::file("small", "content") },
        Entry { xattrs: longest.clone(), ..Entry::file("empty", "") },
        Entry { xattrs: longest.clone(), ..Entry::new(b'6', "fifo") },
        Entry { xattrs: vec![named("trusted.t".into(), value(3990))], ..Entry::symlink("link", "target") },
    ])])
    .unwrap();
    let files = show_erofs(&disk);
    let refused = disk.try_ext4().err().unwrap().to_string();
    assert!(refused.contains("`/empty`: its extended attributes are over the 4 KiB"), "{refused}");
    for path in ["one", "two", "small"] {
        assert!(
            files[Path::new(path)].xattrs.iter().eq(many.iter().map(|(name, value)| (name, value))),
            "{path}"
        );
    }
    assert_eq!(files[Path::new("empty")].xattrs[&b"trusted.long"[..]], value(65_535));
    assert_eq!(files[Path::new("fifo")].xattrs[&b"trusted.long"[..]], value(65_535));
    assert_eq!(files[Path::new("link")].target, Path::new("target"));
    assert_eq!(files[Path::new("small")].content, b"content");
}

#[test]
fn long_and_deep_names() {
    let deep = vec!["d"; 2000].join("/");
    let long = "l".repeat(255);
    let target = "t".repeat(4095);
    let files = show(&[vec![
        Entry::file(&long, "l"),
        Entry::symlink("link", &target),
        Entry::file(format!("{long}s/{long}"), "ll"),
    ]
    .into_iter()
    .filter(|entry| entry.path.split(|&byte| byte == b'/').all(|name| name.len() < 256))
    .collect()]);
    assert_eq!(files[Path::new("link")].target, Path::new(&target));
    assert_eq!(files[Path::new(&long)].content, b"l");
    // Deeper than a walk by whole paths can go; fsck takes it.
    Disk::new(&[archive(&[Entry::directory(deep)])]).unwrap();
}

/// What GNU tar writes of a directory with a sparse and a long-named file, in every format it has.
#[test]
fn gnu_tar_in_all_its_formats() {
    let directory = TempDir::new().unwrap();
    let source = directory.path().join("source");
    fs::create_dir(&source).unwrap();
    let sparse = File::create(source.join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    for at in [0u64, 70_000, 1 << 20, (3 << 20) - 5] {
        sparse.write_all_at(b"data!", at).unwrap();
    }
    for number in 0..30u64 {
        sparse.write_all_at(&[number as u8 + 1; 100], (2 << 20) + number * 16_384).unwrap();
    }
    File::create(source.join("hole")).unwrap().set_len(1 << 20).unwrap();
    fs::write(source.join("n".repeat(200)), "long").unwrap();
    std::os::unix::fs::symlink("s".repeat(300), source.join("link")).unwrap();
    for format in [
        &["--format=gnu"][..],
        &["--sparse-version=0.0"],
        &["--sparse-version=0.1"],
        &["--sparse-version=1.0"],
    ] {
        let tar = directory.path().join("tar");
        let mut command = Command::new("tar");
        command.arg("-cSf").arg(&tar).args(format).arg("-C").arg(&source).arg(".");
        if !format.contains(&"--format=gnu") {
            command.arg("--format=posix");
        }
        run(&mut command);
        let disk = Disk::new(&[fs::read(&tar).unwrap()]).unwrap();
        let mount = disk.check().mount();
        let wrong = differences(&snapshot(mount.path()), &snapshot(&source));
        let wrong: Vec<_> = wrong.iter().filter(|line| !line.contains("content: []")).collect();
        let times = |line: &&&String| !(format.contains(&"--format=gnu") && line.contains("mtime"));
        assert!(!wrong.iter().any(|line| times(&line)), "{format:?}: {wrong:#?}");
        assert_eq!(fs::read(mount.path().join("sparse")).unwrap(), fs::read(source.join("sparse")).unwrap());
    }
}

#[test]
fn files_over_four_gigabytes() {
    let directory = TempDir::new().unwrap();
    let file = File::create(directory.path().join("huge")).unwrap();
    file.set_len((5 << 30) + 1).unwrap();
    file.write_all_at(b"end", (5 << 30) - 2).unwrap();
    let tar =
        Command::new("tar").args(["-cSf", "-", "-C"]).arg(directory.path()).arg("huge").output().unwrap();
    let disk = Disk::new(&[tar.stdout]).unwrap();
    disk.check_ext4();
    for mount in [disk.mount(), disk.mount_ext4(), disk.mount_whole_ext4()] {
        let huge = File::open(mount.path().join("huge")).unwrap();
        assert_eq!(huge.metadata().unwrap().size(), (5 << 30) + 1);
        let mut end = [0; 4];
        huge.read_exact_at(&mut end, (5 << 30) - 3).unwrap();
        assert_eq!(&end, b"\0end");
    }
    // Holes stay holes.
    assert!(fs::metadata(disk.whole_ext4()).unwrap().blocks() * 512 < 16 << 20);
}

#[test]
fn the_same_layers_give_the_same_bytes_and_others_another_uuid() {
    let layer = |content: &str| archive(&[Entry::file("f", content), Entry::file("g", vec![1; 5000])]);
    let (one, again) = (Disk::new(&[layer("one")]).unwrap(), Disk::new(&[layer("one")]).unwrap());
    assert!(one.bytes() == again.bytes());
    let other = Disk::new(&[layer("two")]).unwrap();
    assert_eq!(one.metadata.length, other.metadata.length);
    assert_ne!(one.metadata.uuid, other.metadata.uuid);
}
