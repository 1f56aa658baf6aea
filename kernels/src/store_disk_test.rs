//! Kernels with a disk of their modules.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::*;
use crate::ability::Abilities;
use crate::fixtures::{VERSION, deb, files_tar, kernel_files, module, tool};

fn archive(tree: &mut dyn Read, disk: &Path, _: &Abilities) -> io::Result<()> {
    io::copy(tree, &mut File::create_new(disk)?).map(drop)
}

/// Adds a package of `kernel_files` and these to a new store.
fn add(more: &[(&str, Vec<u8>)], maker: DiskMaker) -> (tempfile::TempDir, Result<Kernel, Error>) {
    let directory = tempfile::tempdir().unwrap();
    let mut files = kernel_files();
    files.extend(
        more.iter().map(|(path, content)| (format!("./lib/modules/{VERSION}/{path}"), content.clone())),
    );
    let package = directory.path().join("kernel.deb");
    fs::write(&package, deb("data.tar.xz", &tool("xz", &["-1"], &files_tar(&files)))).unwrap();
    let store = KernelStore::open(&directory.path().join("kernels")).unwrap().with_disks(maker);
    let added = store.add(&[package.as_path().into()], &Addition::default(), &|_| ());
    (directory, added)
}

fn left(directory: &tempfile::TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory.path().join("kernels")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != ".lock").collect()
}

#[test]
fn all_modules_are_on_the_disk_and_those_of_a_start_beside_it() {
    let (_directory, added) = add(&[("kernel/net/tun.ko", module(&["depends="]))], archive);
    let kernel = added.unwrap();
    let disk = fs::read(kernel.modules_disk().unwrap()).unwrap();
    for path in ["kernel/net/tun.ko", "kernel/fs/erofs/erofs.ko", "modules.dep.bin", "modules.builtin"] {
        assert!(memchr::memmem::find(&disk, path.as_bytes()).is_some(), "{path}");
    }
    let kept = kernel.modules_directory();
    assert!(kept.join("kernel/fs/erofs/erofs.ko.gz").is_file() && kept.join("modules.builtin").is_file());
    assert!(!kept.join("kernel/net/tun.ko").exists() && !kept.join("modules.order").exists());
    assert_eq!(kernel.modules, 11);
    // Whatever a machine may ask for can still be made.
    for needs in [MACHINE_WITH_PMEM, MACHINE_WITH_BLOCK] {
        if kernel.abilities.usable(needs) {
            kernel.modules_archive(needs, LATER, Signatures::Kept).unwrap();
        }
    }
}

#[test]
fn a_tree_that_cannot_be_indexed_leaves_nothing() {
    let circle = [("kernel/a.ko", module(&["depends=b"])), ("kernel/b.ko", module(&["depends=a"]))];
    let (directory, refused) = add(&circle, archive);
    let complaint = refused.unwrap_err().to_string();
    assert!(
        complaint.contains("a, b depend on each other") || complaint.contains("b, a depend"),
        "{complaint}"
    );
    assert!(left(&directory).is_empty());
}

#[test]
fn a_disk_that_cannot_be_written_leaves_nothing() {
    fn full(tree: &mut dyn Read, _: &Path, _: &Abilities) -> io::Result<()> {
        tree.read_exact(&mut [0; 512])?;
        Err(io::ErrorKind::StorageFull.into())
    }
    let (directory, refused) = add(&[], full);
    let complaint = refused.unwrap_err().to_string();
    let store = directory.path().join("kernels").display().to_string();
    let expected = format!("cannot store the disk of its modules in {store}: no storage space");
    assert_eq!(complaint, expected);
    assert!(left(&directory).is_empty());
}

#[test]
fn a_kernel_without_modules_has_no_disk() {
    let directory = tempfile::tempdir().unwrap();
    let vmlinux = directory.path().join("vmlinux");
    fs::write(&vmlinux, crate::fixtures::vmlinux(VERSION, None)).unwrap();
    let store = KernelStore::open(&directory.path().join("kernels")).unwrap().with_disks(archive);
    assert_eq!(
        store.add(&[vmlinux.as_path().into()], &Addition::default(), &|_| ()).unwrap().modules_disk(),
        None
    );
}

#[test]
fn a_kernel_of_an_older_vmrun_gets_its_disk_when_it_is_added_again() {
    let directory = tempfile::tempdir().unwrap();
    let package = directory.path().join("kernel.deb");
    fs::write(&package, deb("data.tar.xz", &tool("xz", &["-1"], &files_tar(&kernel_files())))).unwrap();
    let add =
        |store: &KernelStore| store.add(&[package.as_path().into()], &Addition::default(), &|_| ()).unwrap();
    let store = KernelStore::open(&directory.path().join("kernels")).unwrap();
    assert_eq!(add(&store).modules_disk(), None);
    let store = store.with_disks(archive);
    let disk = add(&store).modules_disk().unwrap();
    let made = fs::metadata(&disk).unwrap().modified().unwrap();
    add(&store);
    assert_eq!(fs::metadata(&disk).unwrap().modified().unwrap(), made, "added a third time, it stays");
}

#[test]
fn what_became_of_a_kernels_files_is_noticed() {
    let (directory, added) = add(&[], archive);
    let store = KernelStore::open(&directory.path().join("kernels")).unwrap();
    let kernel = added.unwrap();
    store.check(&kernel).unwrap();
    assert!(store.allocated(&kernel).unwrap() >= fs::metadata(&kernel.vmlinux).unwrap().len());
    for file in [kernel.modules_disk().unwrap(), kernel.vmlinux.clone()] {
        let mut content = fs::read(&file).unwrap();
        *content.last_mut().unwrap() ^= 1;
        fs::write(&file, content).unwrap();
        let complaint = store.check(&kernel).unwrap_err().to_string();
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(complaint.contains(name) && complaint.contains("add it again"), "{complaint}");
    }
}
