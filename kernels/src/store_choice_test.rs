//! Sources with several kernels, of which one is chosen.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::tests::Fixture;
use super::*;
use crate::fixtures::{VERSION, bzimage, deb, files_tar, kernel_files, lay_out, tool, vmlinux};
use crate::source::directory::{self, Choice};
use crate::source::{Collection, Entry, FileTree, HostTree};

const OTHER: &str = "5.10.0";

fn image(version: &str) -> Vec<u8> {
    let plain = vmlinux(version, None);
    bzimage(&tool("xz", &[], &plain), plain.len())
}

/// The files of one kernel with modules and one without.
fn two_kernels() -> Vec<(String, Vec<u8>)> {
    let mut files = kernel_files();
    files.push((format!("./boot/config-{OTHER}"), crate::fixtures::CONFIG.as_bytes().to_vec()));
    files.push((format!("./boot/vmlinuz-{OTHER}"), image(OTHER)));
    files
}

fn add(fixture: &Fixture, source: Source, release: Option<&str>) -> Result<Kernel, String> {
    let addition = Addition { release, ..Addition::default() };
    fixture.store.add(&[source], &addition, &|_| ()).map_err(|error| error.to_string())
}

#[test]
fn one_of_several_kernels_is_chosen_by_its_release() {
    let fixture = Fixture::new();
    let root = fixture.directory.path().join("root");
    lay_out(&root, &two_kernels());
    let tar = fixture.source("root.tar.gz", &tool("gzip", &[], &files_tar(&two_kernels())));
    let package = fixture.source("both.deb", &deb("data.tar", &files_tar(&two_kernels())));
    // As images are read.
    let tree = || Source { tree: Some(Arc::new(HostTree::new(&root))), ..Source::from("image:x") };
    for source in [Source::from(&root), Source::from(tar), Source::from(package), tree()] {
        let complaint = add(&fixture, source.clone(), None).unwrap_err();
        assert!(complaint.contains("--release") && !complaint.contains('\n'), "{complaint}");
        let (with, without) =
            (add(&fixture, source.clone(), Some(VERSION)), add(&fixture, source.clone(), Some(OTHER)));
        let (with, without) = (with.unwrap(), without.unwrap());
        assert_eq!((with.version.as_str(), with.modules), (VERSION, 10));
        assert_eq!((without.version.as_str(), without.modules), (OTHER, 0));
        let complaint = add(&fixture, source, Some("6.6.6")).unwrap_err();
        assert!(complaint.contains("there is no kernel of release 6.6.6 in"), "{complaint}");
        for kernel in [with, without] {
            fixture.store.remove(&kernel.name).unwrap();
        }
    }
    let complaint = add(&fixture, tree(), None).unwrap_err();
    assert!(complaint.contains(&format!("several kernels, {OTHER}, {VERSION}: choose one")), "{complaint}");
    let complaint = add(&fixture, tree(), Some("6")).unwrap_err();
    assert!(complaint.ends_with(&format!("it has {OTHER}, {VERSION}")), "{complaint}");
    assert_eq!(fixture.content(), [""; 0]);
}

#[test]
fn the_only_kernel_is_not_taken_for_another() {
    let fixture = Fixture::new();
    let plain: Source = fixture.source("vmlinux", &vmlinux(OTHER, None)).into();
    assert!(add(&fixture, plain.clone(), Some("5.10")).unwrap_err().contains("no kernel of release 5.10 in"));
    assert_eq!(add(&fixture, plain, Some(OTHER)).unwrap().version, OTHER);
}

/// Alpine and Arch call images by their flavour.
#[test]
fn images_go_with_modules_of_another_name() {
    let fixture = Fixture::new();
    let root = fixture.directory.path().join("root");
    let kernels = [("virt", "6.6.1-0-virt"), ("lts", "6.6.1-0-lts"), ("linux", "6.10.3-arch1-1")];
    for (name, release) in kernels {
        let order = (format!("lib/modules/{release}/modules.order"), Vec::new());
        let modules =
            (format!("lib/modules/{release}/modules.builtin"), b"kernel/fs/ext4/ext4.ko\n".to_vec());
        lay_out(&root, &[(format!("boot/vmlinuz-{name}"), image(release)), order, modules]);
    }
    let arch = root.join("lib/modules/6.10.3-arch1-1");
    fs::write(arch.join("pkgbase"), "linux\n").unwrap();
    fs::copy(root.join("boot/vmlinuz-linux"), arch.join("vmlinuz")).unwrap();
    let complaint = add(&fixture, Source::from(&root), None).unwrap_err();
    assert!(complaint.contains("6.10.3-arch1-1, 6.6.1-0-lts, 6.6.1-0-virt: choose"), "{complaint}");
    for (name, release) in kernels {
        let kernel = add(&fixture, Source::from(&root), Some(release)).unwrap();
        assert_eq!(kernel.version, release);
        assert!(kernel.modules_directory().join("modules.builtin").is_file());
        assert_eq!(add(&fixture, Source::from(&root), Some(name)).unwrap(), kernel);
    }
}

/// Files that cannot be read, whoever runs the tests.
#[derive(Debug)]
struct Guarded {
    tree: HostTree,
    guarded: &'static str,
}

impl Guarded {
    fn check(&self, path: &Path) -> io::Result<()> {
        let is_guarded = path.to_string_lossy().contains(self.guarded);
        if is_guarded { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }
}

impl FileTree for Guarded {
    fn entries(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        self.check(directory)?;
        self.tree.entries(directory)
    }

    fn open(&self, file: &Path) -> io::Result<Option<Box<dyn Read + '_>>> {
        self.check(file)?;
        self.tree.open(file)
    }
}

fn guarded(root: &Path, guarded: &'static str) -> Source {
    let tree = Guarded { tree: HostTree::new(root), guarded };
    Source { tree: Some(Arc::new(tree)), ..Source::from("/") }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let fixture = Fixture::new();
    let root = fixture.directory.path().join("root");
    lay_out(&root, &kernel_files());
    for (path, named) in [
        ("boot/vmlinuz", format!("boot/vmlinuz-{VERSION}")),
        ("boot/config", format!("boot/config-{VERSION}")),
        ("erofs.ko.gz", format!("lib/modules/{VERSION}/kernel/fs/erofs/erofs.ko.gz")),
        ("fs/erofs", format!("lib/modules/{VERSION}/kernel/fs/erofs")),
        ("boot", "boot".into()),
    ] {
        let complaint = add(&fixture, guarded(&root, path), None).unwrap_err();
        let expected = format!(
            "cannot take a kernel from /: cannot read {named} in it (run this as root, or take a copy that may be \
             read): permission denied"
        );
        assert_eq!(complaint, expected);
        assert_eq!(fixture.content(), [""; 0]);
    }
}

#[test]
fn a_boot_directory_that_cannot_be_listed_is_not_needed_where_the_image_is_beside_the_modules() {
    let fixture = Fixture::new();
    let root = fixture.directory.path().join("root");
    let mut files = kernel_files();
    files[0].0 = format!("usr/lib/modules/{VERSION}/vmlinuz");
    files[1].0 = format!("usr/lib/modules/{VERSION}/config");
    for (name, _) in &mut files {
        *name = name.replace("./lib/", "usr/lib/");
    }
    lay_out(&root, &files);
    let kernel = add(&fixture, guarded(&root, "boot"), None).unwrap();
    assert_eq!((kernel.version.as_str(), kernel.modules), (VERSION, 10));
    // One that may be there.
    let complaint = add(&fixture, guarded(&root, "boot"), Some(OTHER)).unwrap_err();
    assert!(complaint.contains("cannot read boot in it"), "{complaint}");
}

#[test]
fn of_the_host_the_kernel_that_runs_is_taken_and_no_other() {
    let fixture = Fixture::new();
    let root = fixture.directory.path().join("root");
    lay_out(&root, &called("test-amd64"));
    let collected = |running| {
        let staging = tempfile::tempdir().unwrap();
        let mut collection = Collection::new(staging.path());
        let choice = Choice { release: None, running: Some(running) };
        directory::collect(&HostTree::new(&root), choice, &mut collection)
            .map(|()| collection.modules_version().map(|version| version.to_string_lossy().into_owned()))
            .map_err(|error| error.to_string())
    };
    assert_eq!(collected(VERSION), Ok(Some(VERSION.into())));
    let complaint = collected("6.6.6").unwrap_err();
    assert_eq!(
        complaint,
        format!(
            "it does not have the kernel that runs, 6.6.6: it has {VERSION}, of which --release takes one"
        )
    );
    lay_out(&root, &[(format!("boot/vmlinuz-{OTHER}"), image(OTHER))]);
    assert_eq!(collected(VERSION), Ok(Some(VERSION.into())));
    assert_eq!(collected(OTHER), Ok(None));
    assert!(collected("6.6.6").unwrap_err().contains(&format!("it has {OTHER}, {VERSION}, of which")));
}

/// The files of a package, its image called by that name.
fn called(name: &str) -> Vec<(String, Vec<u8>)> {
    let image = format!("./boot/vmlinuz-{VERSION}");
    let rename = |path: String| if path == image { format!("./boot/vmlinuz-{name}") } else { path };
    kernel_files().into_iter().map(|(path, content)| (rename(path), content)).collect()
}

#[test]
fn a_flavour_never_costs_a_kernel_its_modules() {
    let fixture = Fixture::new();
    let files = called("test-amd64");
    let root = fixture.directory.path().join("root");
    lay_out(&root, &files);
    let whole = add(&fixture, Source::from(&root), Some("test-amd64")).unwrap();
    assert_eq!((whole.version.as_str(), whole.modules), (VERSION, 10));
    fixture.store.remove(VERSION).unwrap();
    let without = |part: &str| {
        let kept = files.iter().filter(|(path, _)| !path.contains(part)).cloned();
        files_tar(&kept.collect::<Vec<_>>())
    };
    for (number, files) in [files_tar(&files), without("/config-"), without("/modules/")].iter().enumerate() {
        let tar = fixture.source(&format!("{number}.tar"), files);
        let package = fixture.source(&format!("{number}.deb"), &deb("data.tar", files));
        for source in [Source::from(tar), Source::from(package)] {
            let complaint = add(&fixture, source.clone(), Some("test-amd64")).unwrap_err();
            assert!(complaint.ends_with(&format!("whole release, --release {VERSION}")), "{complaint}");
            assert_eq!(fixture.content(), [""; 0]);
            if number == 0 {
                let described = add(&fixture, source, Some(VERSION)).unwrap().description;
                assert_eq!((described.modules, described.abilities), (10, whole.abilities.clone()));
                fixture.store.remove(VERSION).unwrap();
            }
        }
    }
}

#[test]
fn an_image_whose_name_goes_with_several_releases_is_chosen_by_the_whole_one() {
    let fixture = Fixture::new();
    let root = fixture.directory.path().join("root");
    lay_out(&root, &called("amd64"));
    lay_out(&root, &[("lib/modules/6.1.0-cloud-amd64/modules.order".into(), Vec::new())]);
    for release in [None, Some("amd64")] {
        let complaint = add(&fixture, Source::from(&root), release).unwrap_err();
        assert!(complaint.ends_with(&format!("whole release, --release {VERSION}")), "{complaint}");
    }
    let kernel = add(&fixture, Source::from(&root), Some(VERSION)).unwrap();
    assert_eq!((kernel.version.as_str(), kernel.modules), (VERSION, 10));
}

#[test]
fn what_a_hostile_tree_calls_its_kernels_stays_one_line() {
    let fixture = Fixture::new();
    let root: PathBuf = fixture.directory.path().join("root");
    let mut files: Vec<_> = (0..40).map(|number| (format!("boot/vmlinuz-{number:02}"), Vec::new())).collect();
    files.push(("boot/vmlinuz-\u{1b}[31m\n".into(), Vec::new()));
    lay_out(&root, &files);
    let complaint = add(&fixture, Source::from(&root), None).unwrap_err();
    assert!(complaint.contains("18, 19 and 20 more: choose"), "{complaint}");
    assert!(!complaint.contains(char::is_control), "{complaint:?}");
}
