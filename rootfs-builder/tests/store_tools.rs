//! skopeo and umoci: what they make is read, and what is stored they can read.

mod store_support;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rootfs_builder::progress::Silent;
use rootfs_builder::store::LoadSource;
use serde_json::Value;
use store_support::{TestImage, TestStore};

fn run<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} (a Debian package of that name): {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn skopeo_copy(from: &str, to: &str) {
    run("skopeo", ["--insecure-policy", "copy", "--quiet", from, to]);
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn what_skopeo_writes_is_read() {
    let test = TestStore::new();
    let image = TestImage::new(1);
    let layout = test.beside("layout");
    image.layout("1").write(&layout);
    let from = format!("oci:{}:1", path(&layout));
    for (kind, extra) in [("oci", ":x:1"), ("oci-archive", ":x:1"), ("docker-archive", ":x:1")] {
        let place = test.beside(kind);
        skopeo_copy(&from, &format!("{kind}:{}{extra}", path(&place)));
        let store = TestStore::new();
        let source = match place.is_dir() {
            true => LoadSource::Directory(place),
            false => LoadSource::Archive(Box::new(fs::File::open(place).expect("opens"))),
        };
        store.store.load(source, None, &Silent).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(store.listed(), [("x:1".to_owned(), image.id())], "{kind}");
        store.check();
    }
}

#[test]
fn what_umoci_writes_is_read() {
    let test = TestStore::new();
    let layout = test.beside("layout");
    let tagged = format!("{}:new", path(&layout));
    run("umoci", ["init", "--layout", path(&layout)]);
    run("umoci", ["new", "--image", &tagged]);
    let tree = test.beside("tree");
    fs::create_dir_all(tree.join("etc")).expect("creates");
    fs::write(tree.join("etc/motd"), "hello\n").expect("writes");
    run("umoci", ["insert", "--rootless", "--image", &tagged, path(&tree.join("etc")), "/etc"]);
    run("umoci", ["config", "--image", &tagged, "--config.cmd", "/bin/true", "--config.user", "7:8"]);
    let name = "made/by-umoci".parse().expect("a name");
    test.store.load(LoadSource::Directory(layout), Some(&name), &Silent).expect("loads");
    let image = test.store.resolve("made/by-umoci").expect("resolves");
    assert_eq!(
        (image.config().user.as_str(), image.config().cmd.as_slice()),
        ("7:8", &["/bin/true".to_owned()][..])
    );
    test.check();
}

#[test]
fn skopeo_and_umoci_read_the_store() {
    let test = TestStore::new();
    let image = TestImage::new(1);
    test.load_archive(image.docker_save(&["localhost:5000/team/app:1.0", "busybox:latest"]).archive(false))
        .expect("loads");
    let layout = test.store.root().join("oci");
    for name in ["localhost:5000/team/app:1.0", "docker.io/library/busybox:latest"] {
        let from = format!("oci:{}:{name}", path(&layout));
        let seen: Value = serde_json::from_str(&run("skopeo", ["inspect", &from])).expect("JSON");
        assert_eq!(seen["Layers"].as_array().map(Vec::len), Some(2));
        let copy = test.beside(&name.replace(['/', ':'], "-"));
        skopeo_copy(&from, &format!("dir:{}", path(&copy)));
        assert!(copy.join(image.id().hex()).exists(), "the configuration is the same");
    }
    let listed = run("umoci", ["list", "--layout", path(&layout)]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let bundle = test.beside("bundle");
    let from = format!("{}:docker.io/library/busybox:latest", path(&layout));
    run("umoci", ["unpack", "--rootless", "--image", &from, path(&bundle)]);
    assert_eq!(fs::read(bundle.join("rootfs/etc/motd")).expect("reads"), b"hello\n");
    assert!(!bundle.join("rootfs/bin/sh").exists(), "the second layer removes it");
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// While images come and go, other tools see the ones that stay.
#[test]
fn skopeo_and_umoci_read_the_store_while_it_is_used() {
    let test = TestStore::new();
    test.load_archive(TestImage::new(1).docker_save(&["team/app:1.0"]).archive(false)).expect("loads");
    let layout = test.store.root().join("oci");
    let (done, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let name = "docker.io/team/app:1.0";
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let number = rounds.fetch_add(1, Ordering::Relaxed) as u64 % 5 + 2;
                let coming = format!("coming:{number}");
                let image = TestImage::new(number).docker_save(&[&coming]);
                test.load_archive(image.archive(false)).expect("loads");
                test.store.remove(&coming, false, &|_| false).expect("removes");
            }
        });
        // Also when something fails here.
        let _end = OnDrop(&done);
        let from = format!("oci:{}:{name}", path(&layout));
        // As often as it takes for five images to have come and gone meanwhile.
        for number in 0..1000 {
            if number > 1 && rounds.load(Ordering::Relaxed) > 5 {
                break;
            }
            let seen: Value = serde_json::from_str(&run("skopeo", ["inspect", &from])).expect("JSON");
            assert_eq!(seen["Layers"].as_array().map(Vec::len), Some(2));
            skopeo_copy(&from, &format!("oci-archive:{}", path(&test.beside(&format!("{number}.tar")))));
            let bundle = test.beside(&format!("bundle-{number}"));
            let image = format!("{}:{name}", path(&layout));
            run("umoci", ["unpack", "--rootless", "--image", &image, path(&bundle)]);
            assert_eq!(fs::read(bundle.join("rootfs/etc/motd")).expect("reads"), b"hello\n");
        }
    });
    test.check();
}

#[test]
fn what_another_tool_adds_to_the_store_is_left_alone() {
    let test = TestStore::new();
    let image = TestImage::new(1);
    test.load_directory(&image.layout("a:1")).expect("loads");
    let layout = test.store.root().join("oci");
    let foreign = test.beside("foreign");
    TestImage::new(2).layout("1").write(&foreign);
    skopeo_copy(&format!("oci:{}:1", path(&foreign)), &format!("oci:{}:foreign:1", path(&layout)));
    run(
        "umoci",
        [
            "tag",
            "--image",
            &format!("{}:a:1", path(&layout)).replace(":a:1", ":docker.io/library/a:1"),
            "docker.io/library/b:2",
        ],
    );

    let names: Vec<String> = test.listed().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a:1", "b:2"], "one has a disk here, the other has none");
    assert_eq!(test.store.resolve("b:2").expect("resolves").id().0, image.id());
    test.store.remove("a:1", false, &|_| false).expect("removes");
    test.store.remove("b:2", false, &|_| false).expect("removes");
    let copy = test.beside("copy");
    skopeo_copy(&format!("oci:{}:foreign:1", path(&layout)), &format!("dir:{}", path(&copy)));
}
