//! Sources with several kernels, of which one is chosen.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::tests::Fixture;
use super::*;
use crate::fixtures::{VERSION, bzimage, deb, files_tar, kernel_files, lay_out, tool, vmlinux};
use crate::source::HostTree;

const OTHER: &str = "5.10.0";

fn image(version: &str) -> Vec<u8> {
    let plain = vmlinux(version, None);
    bzimage(&tool("xz", &[], &plain), plain.len())
}

/// The files of one kernel with modules and one without.
fn two_kernels() -> Vec<(String, Vec<u8>)> {
    let mut files = kernel_files();
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
