//! The disk of a kernel's modules, against what depmod makes of the same modules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{KERNEL, NEWER_KERNEL, setting, vmrun};

/// Files that are the same, byte for byte.
const ALIKE: [&str; 6] = [
    "modules.alias",
    "modules.alias.bin",
    "modules.symbols.bin",
    "modules.devname",
    "modules.builtin.bin",
    "modules.builtin.alias.bin",
];

fn tool(program: &str, words: &[&str]) -> Vec<u8> {
    let output =
        Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The lines of a file, in order, without comments.
fn lines(path: PathBuf) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// Lines of modules.dep: a module, and what it needs in an order in which it can be loaded.
fn dependencies(path: PathBuf) -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let (module, needed) = line.split_once(':').unwrap();
        (module.to_owned(), needed.split_whitespace().map(str::to_owned).collect())
    };
    text.lines().map(line).collect()
}

#[track_caller]
fn is_as_depmod_makes_it(kernel: &str) {
    let version = vmrun(["kernel", "inspect", kernel]).run().succeeds().value("version");
    let disk = Path::new(&setting("VMRUN_HOME")).join("kernels").join(kernel).join("modules.disk");
    tool("fsck.erofs", &[disk.to_str().unwrap()]);
    let directory = tempfile::tempdir().unwrap();
    let modules = directory.path().join("lib/modules");
    fs::create_dir_all(&modules).unwrap();
    let theirs = modules.join(&version);
    tool("fsck.erofs", &[&format!("--extract={}", theirs.display()), disk.to_str().unwrap()]);
    let ours = directory.path().join("ours");
    fs::create_dir(&ours).unwrap();
    for entry in fs::read_dir(&theirs).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), ours.join(entry.file_name())).unwrap();
        }
    }
    tool("depmod", &["-b", directory.path().to_str().unwrap(), &version]);

    for name in ALIKE {
        assert!(
            fs::read(theirs.join(name)).unwrap() == fs::read(ours.join(name)).unwrap(),
            "{kernel}: {name}"
        );
    }
    for name in ["modules.symbols", "modules.softdep"] {
        assert_eq!(lines(theirs.join(name)), lines(ours.join(name)), "{kernel}: {name}");
    }
    let (theirs, ours) = (dependencies(theirs.join("modules.dep")), dependencies(ours.join("modules.dep")));
    assert!(theirs.len() > 1000 && theirs.len() == ours.len());
    for ((module, needed), (our_module, our_needed)) in theirs.iter().zip(&ours) {
        assert_eq!(module, our_module);
        // Among modules that do not need one another, depmod chooses by the order of symbols.
        let [theirs, ours] = [needed, our_needed].map(|names| names.iter().collect::<BTreeSet<_>>());
        assert_eq!(theirs, ours, "{module}");
    }
    for (at, (module, needed)) in ours.iter().enumerate() {
        for (place, name) in needed.iter().enumerate() {
            let (_, behind) = ours.iter().find(|(module, _)| module == name).unwrap();
            let later = |wanted: &String| needed.iter().position(|needed| needed == wanted) > Some(place);
            assert!(
                behind.iter().all(later),
                "line {}: {module} needs {name} before what that needs",
                at + 1
            );
        }
    }
}

#[test]
fn the_index_of_plain_modules_is_depmods() {
    is_as_depmod_makes_it(KERNEL);
}

/// Which came compressed.
#[test]
fn the_index_of_compressed_modules_is_depmods() {
    is_as_depmod_makes_it(NEWER_KERNEL);
}
