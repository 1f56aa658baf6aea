use std::fs::{self, File};
use std::path::Path;

use super::*;
use crate::fixtures::{lay_out, module, tool};

/// A disk that is the archive itself.
fn archive(tree: &mut dyn Read, disk: &Path, _: &Abilities) -> io::Result<()> {
    io::copy(tree, &mut File::create_new(disk)?).map(drop)
}

/// What is on the disk of these files: paths and contents.
fn disk_of(files: &[(&str, Vec<u8>)]) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let directory = tempfile::tempdir().unwrap();
    let files: Vec<_> = files.iter().map(|(name, content)| (name.to_string(), content.clone())).collect();
    lay_out(&directory.path().join("modules"), &files);
    let tree = ModuleTree::open(&directory.path().join("modules"))?;
    let disk = directory.path().join("disk");
    make_disk(&tree, archive, &disk, &Abilities::default())?;
    let mut tar = tar::Archive::new(File::open(disk).unwrap());
    let entries = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().display().to_string(), content)
    });
    Ok(entries.collect())
}

fn text_of(disk: &[(String, Vec<u8>)], name: &str) -> String {
    let (_, content) = disk.iter().find(|(path, _)| path == name).unwrap();
    String::from_utf8(content.clone()).unwrap()
}

fn complaint(files: &[(&str, Vec<u8>)]) -> String {
    disk_of(files).unwrap_err().to_string()
}

#[test]
fn modules_are_unpacked_and_indexed() {
    let tun = module(&["alias=devname:net/tun", "alias=char-major-10-200", "depends="]);
    let files = [
        ("modules.order", b"kernel/z/first.ko\nkernel/a/snd-b.ko\n".to_vec()),
        ("modules.builtin", b"kernel/fs/ext4/ext4.ko\n".to_vec()),
        ("modules.alias", b"alias of-another-tree x\n".to_vec()),
        ("modules.dep", b"../../../../etc/passwd.ko: /etc/shadow\n".to_vec()),
        ("build/Makefile", b"of no use here".to_vec()),
        (
            "kernel/a/snd-b.ko.xz",
            tool("xz", &[], &module(&["depends=first,tun,not-there", "softdep=pre: c-d"])),
        ),
        ("kernel/net/tun.ko.zst", tool("zstd", &[], &tun)),
        ("kernel/z/first.ko", module(&["depends=tun", "alias=fs-odd", "alias=two\nlines", "alias=[open"])),
    ];
    let disk = disk_of(&files).unwrap();
    let paths: Vec<_> = disk.iter().map(|(path, _)| path.trim_end_matches('/')).collect();
    assert_eq!(
        paths[..7],
        [
            "kernel",
            "kernel/a",
            "kernel/a/snd-b.ko",
            "kernel/net",
            "kernel/net/tun.ko",
            "kernel/z",
            "kernel/z/first.ko"
        ]
    );
    assert!(!paths.contains(&"build/Makefile"));
    assert_eq!(disk.iter().find(|(path, _)| path == "kernel/net/tun.ko").unwrap().1, tun);
    assert_eq!(
        text_of(&disk, "modules.dep"),
        "kernel/z/first.ko: kernel/net/tun.ko\nkernel/a/snd-b.ko: kernel/z/first.ko kernel/net/tun.ko\n\
         kernel/net/tun.ko:\n"
    );
    assert!(text_of(&disk, "modules.alias").ends_with(
        ".\nalias fs-odd first\nalias [open first\nalias devname:net/tun tun\nalias char-major-10-200 tun\n"
    ));
    assert!(text_of(&disk, "modules.softdep").ends_with("\nsoftdep snd_b pre: c-d\n"));
    assert!(text_of(&disk, "modules.devname").ends_with("\ntun net/tun c10:200\n"));
    assert!(
        disk.iter()
            .any(|(path, content)| path == "modules.alias.bin" && content.starts_with(b"\xb0\x07\xf4\x57"))
    );
    assert_eq!(disk_of(&files).unwrap(), disk, "the same modules make the same disk");
}

/// The modules `a00` to `a39`, each in need of the one before; some packed, and one larger than what is unpacked ahead.
fn forty() -> Vec<(String, Vec<u8>)> {
    let one = |number: usize| {
        let before = number.checked_sub(1).map_or(String::new(), |before| format!("a{before:02}"));
        let mut content = module(&[&format!("depends={before}"), &format!("alias=of-{number}")]);
        if number == 17 {
            content.resize(9 << 20, 0);
        }
        match number % 3 {
            0 => (format!("kernel/a{number:02}.ko.xz"), tool("xz", &["-0"], &content)),
            1 => (format!("kernel/a{number:02}.ko.zst"), tool("zstd", &["-1"], &content)),
            _ => (format!("kernel/a{number:02}.ko"), content),
        }
    };
    (0..40).map(one).collect()
}

/// What so many threads make of them.
fn made_by(workers: usize, files: &[(String, Vec<u8>)]) -> Result<Vec<u8>, String> {
    let directory = tempfile::tempdir().unwrap();
    lay_out(&directory.path().join("modules"), files);
    let tree = ModuleTree::open(&directory.path().join("modules")).unwrap();
    let disk = directory.path().join("disk");
    let made = make_disk_with(workers, ALL_LIMIT, &tree, archive, &disk, &Abilities::default());
    let place = format!("{}/", directory.path().display());
    made.map(|()| fs::read(disk).unwrap()).map_err(|error| error.to_string().replace(&place, ""))
}

#[test]
fn any_number_of_threads_makes_the_same_disk() {
    let files = forty();
    let alone = made_by(0, &files).unwrap();
    assert!(alone.len() > 9 << 20);
    for workers in [1, 2, 3, 8, 64] {
        assert!(made_by(workers, &files).unwrap() == alone, "{workers} threads");
    }
}

#[test]
fn of_several_mistakes_the_first_is_told_by_any_number_of_threads() {
    let mut files = forty();
    for wrong in [11, 12, 30] {
        files[wrong].1.truncate(40);
    }
    let alone = made_by(0, &files).unwrap_err();
    assert!(alone.contains("a11.ko"), "{alone}");
    for workers in [1, 2, 3, 8, 64] {
        for _ in 0..5 {
            assert_eq!(made_by(workers, &files).unwrap_err(), alone, "{workers} threads");
        }
    }
}

/// One that was installed beside the kernel's own goes before it; else names decide, not the disk's order.
#[test]
fn of_two_files_of_a_module_one_counts() {
    let disk = disk_of(&[
        ("kernel/a/driver.ko", module(&["alias=old"])),
        ("updates/dkms/driver.ko", module(&["alias=new"])),
        ("kernel/b/one-two.ko", module(&["alias=dash"])),
        ("kernel/b/one_two.ko", module(&["alias=underscore"])),
    ])
    .unwrap();
    let aliases = text_of(&disk, "modules.alias");
    assert!(aliases.ends_with(".\nalias dash one_two\nalias new driver\n"), "{aliases}");
}

#[test]
fn what_no_index_can_hold_is_refused_in_one_line() {
    let circle = complaint(&[
        ("a.ko", module(&["depends=b"])),
        ("b.ko", module(&["depends=c"])),
        ("c.ko", module(&["depends=b"])),
        ("d.ko", module(&["depends="])),
    ]);
    assert!(circle.contains("b, c depend") || circle.contains("c, b depend"), "{circle}");
    for name in
        ["kernel/two\nlines.ko", "kernel/a b.ko", "kernel/a:.ko", "kernel/\u{e4}.ko", "kernel/\x1b[m/a.ko"]
    {
        let said = complaint(&[(name, module(&[]))]);
        assert!(said.contains("character") && !said.contains(['\n', '\x1b']), "{said}");
    }
    assert!(complaint(&[("kernel/a.ko", b"no ELF".to_vec())]).contains("kernel/a.ko is damaged"));
    let cut = tool("xz", &[], &module(&["alias=x"]));
    assert!(complaint(&[("kernel/a.ko.xz", cut[..cut.len() / 2].to_vec())]).contains("a.ko.xz"));
}

#[test]
fn modules_that_unpack_to_more_than_a_disk_holds_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut content = module(&["depends="]);
    content.resize(1 << 20, 0);
    let content = tool("zstd", &["-1"], &content);
    let files = ["a", "b", "c"].map(|name| (format!("modules/{name}.ko.zst"), content.clone()));
    lay_out(directory.path(), &files);
    let tree = ModuleTree::open(&directory.path().join("modules")).unwrap();
    let disk = directory.path().join("disk");
    let made = |limit| make_disk_with(1, limit, &tree, archive, &disk, &Abilities::default());
    made(3 << 20).unwrap();
    fs::remove_file(&disk).unwrap();
    assert_eq!(made(2 << 20).unwrap_err().to_string(), "its modules have more than 2 MiB, unpacked");
}

#[test]
fn a_module_that_says_too_much_is_refused() {
    let aliases = module(&vec!["alias=x"; 60_000]);
    let names: Vec<_> = (10..28).map(|number| format!("kernel/{number}.ko")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), aliases.clone())).collect();
    assert!(complaint(&files).contains("more of themselves"));
    let wishes = format!("softdep=pre: {}", "z ".repeat(2_000_000));
    let said = complaint(&[("kernel/a.ko", module(&[&wishes]))]);
    assert!(said.contains("kernel/a.ko is damaged: its .modinfo names more than"), "{said}");
    assert!(complaint(&[("kernel/a.ko", module(&vec!["alias=x"; 600_000]))]).contains("its .modinfo has"));
}

/// Links are not followed, wherever they lead.
#[test]
fn links_are_no_modules() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("kernel")).unwrap();
    std::os::unix::fs::symlink("..", directory.path().join("kernel/round")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", directory.path().join("kernel/passwd.ko")).unwrap();
    assert!(ModuleTree::open(directory.path()).unwrap().is_without_files());
}
