//! A disk that is full in the middle of something.

mod store_support;

use std::path::{Path, PathBuf};
use std::process::Command;

use rootfs_builder::digest::Digest;
use rootfs_builder::progress::Silent;
use rootfs_builder::store::{Error, ImportConfig, LoadSource, Store};
use store_support::{TestImage, check_whole, compress, layer_tar, noise};

const CHILD: &str = "STORE_FULL_DISK";

/// Runs [`full_disk_child`] in a mount namespace of its own, with a small tmpfs over the store.
#[test]
fn a_full_disk_is_one_clear_line_and_nothing_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    // Root needs no user namespace, which a system may not give.
    let user: &[&str] =
        if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let run = |script: &str| {
        Command::new("unshare")
            .args(user)
            .args(["--mount", "sh", "-c", script])
            .arg(std::env::current_exe().expect("this test"))
            .env(CHILD, directory.path())
            .output()
            .expect("util-linux is installed")
    };
    let mount = format!("mount -t tmpfs -o size=1m,mode=700 none {}", directory.path().display());
    let output = run(&format!("{mount} && exec \"$0\" --exact full_disk_child --ignored --nocapture"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
#[ignore = "run by the test of the full disk"]
fn full_disk_child() {
    let Some(root) = std::env::var_os(CHILD).map(PathBuf::from) else {
        return;
    };
    let store = Store::open(&root).expect("opens");
    let small = image(50_000);
    load(&store, &small, "kept:1").expect("fits");

    for size in [600_000, 900_000, 1_500_000] {
        let large = image(size);
        for result in [
            load(&store, &large, "large:1"),
            load_directory(&store, &large),
            import(&store, &layer_tar(&[("f", &noise(2, size))])),
        ] {
            let error = result.expect_err("does not fit");
            assert!(matches!(error, Error::Full(_)), "{error}");
            assert!(error.to_string().starts_with("no space left on the file system of /"), "{error}");
            check_whole(&root);
            assert_eq!(store.images().expect("lists").len(), 1);
        }
    }
    assert_eq!(std::fs::read_dir(root.join("oci/blobs/sha256")).expect("reads").count(), 3);
    load(&store, &image(60_000), "other:1").expect("there is room again");
    store.remove("kept:1", false, &|_| false).expect("removes");
}

fn image(size: usize) -> TestImage {
    let tar = layer_tar(&[("f", &noise(1, size))]);
    TestImage::of_layers(vec![(compress("gzip", &tar), Digest::of(&tar))])
}

fn load(store: &Store, image: &TestImage, name: &str) -> Result<(), Error> {
    let archive = std::io::Cursor::new(image.layout(name).archive(true));
    store.load(LoadSource::Archive(Box::new(archive)), None, &Silent).map(|_| ())
}

fn load_directory(store: &Store, image: &TestImage) -> Result<(), Error> {
    let layout = tempfile::tempdir_in(Path::new("/var/tmp")).expect("a directory");
    image.layout("large:1").write(layout.path());
    store.load(LoadSource::Directory(layout.path().to_path_buf()), None, &Silent).map(|_| ())
}

fn import(store: &Store, tar: &[u8]) -> Result<(), Error> {
    store.import(tar, &"large:1".parse().expect("a name"), ImportConfig::default(), &Silent).map(|_| ())
}
