//! Images come from every kind of source, are listed, exported and removed.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::vmrun;

use crate::image_file;

fn load(home: &Path, file: &str, name: Option<&str>) -> tests::Outcome {
    let path = image_file(file);
    let name = name.map(|name| ["--name", name]);
    vmrun(["load".as_ref(), "--quiet".as_ref(), "-i".as_ref(), path.as_os_str()])
        .with(name.into_iter().flatten())
        .home(home)
        .run()
        .succeeds()
}

/// One image by three ways is one image, with one disk, whose layers are stored once.
#[test]
fn every_source_gives_the_same_image() {
    let home = tempfile::tempdir().unwrap();
    load(home.path(), "layered", Some("directory"));
    let layers = || fs::read_dir(home.path().join("layers/sha256")).unwrap().count();
    let count = layers();
    load(home.path(), "layered.oci.tar", Some("archive"));
    load(home.path(), "layered.docker.tar", None);
    assert_eq!(layers(), count);
    let listed = vmrun(["images", "--no-trunc", "--format", "json"]).home(home.path()).run().succeeds();
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let images = listed.as_array().unwrap();
    assert_eq!(images.len(), 3);
    assert!(images.iter().all(|image| image["id"] == images[0]["id"]), "{listed:#}");
    let mut names: Vec<String> = images
        .iter()
        .map(|image| format!("{}:{}", image["repository"], image["tag"]).replace('"', ""))
        .collect();
    names.sort();
    assert_eq!(names, ["archive:latest", "directory:latest", "example.org/saved:1"]);
}

#[test]
fn the_exported_root_is_sound_and_always_the_same() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let export = |home: &Path| {
        let file = home.join("exported");
        vmrun(["rootfs".as_ref(), "layered".as_ref(), "-o".as_ref(), file.as_os_str()])
            .home(home)
            .run()
            .succeeds();
        file
    };
    load(one.path(), "layered", Some("layered"));
    load(other.path(), "layered.docker.tar", Some("layered"));
    let (first, second) = (export(one.path()), export(other.path()));
    assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap(), "same layers, same bytes");
    let checked = Command::new("fsck.erofs").arg(&first).output().expect("fsck.erofs is installed");
    assert!(checked.status.success(), "{checked:?}");
}

/// The store is a plain OCI layout to other tools.
#[test]
fn other_tools_read_the_store() {
    let home = tempfile::tempdir().unwrap();
    load(home.path(), "layered.docker.tar", None);
    let layout = home.path().join("oci");
    let list =
        Command::new("umoci").args(["ls", "--layout"]).arg(&layout).output().expect("umoci is installed");
    assert_eq!(String::from_utf8_lossy(&list.stdout).trim(), "example.org/saved:1");
    let source = format!("oci:{}:example.org/saved:1", layout.display());
    let inspected = Command::new("skopeo").args(["inspect", &source]).output().expect("skopeo is installed");
    assert!(inspected.status.success(), "{inspected:?}");
}

#[test]
fn images_are_imported_listed_and_removed() {
    let home = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| vmrun(words).home(home.path()).run();
    let file = image_file("busybox.tar");
    let file = file.to_str().unwrap();
    run(&["import", "--quiet", "--cmd", "sh", file, "example.org/Box:1"]).is_refused(&["lower case"]);
    run(&["import", "--quiet", "--cmd", "sh", file, "box"]).succeeds().says(&["Loaded image: box:latest"]);
    let table = run(&["images"]).succeeds().text();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]);
    assert_eq!(lines[1][..2], ["box", "latest"]);
    let id = lines[1][2];
    run(&["rmi", "no-such-image"]).is_refused(&["no-such-image"]);
    run(&["rmi", id]).succeeds().says(&["Untagged", "Deleted"]);
    assert_eq!(run(&["images", "-q"]).succeeds().text(), "");
    assert_eq!(fs::read_dir(home.path().join("layers/sha256")).unwrap().count(), 0, "nothing of it is left");
}

/// Two that load the same image at once both have it.
#[test]
fn two_loads_of_one_image_at_once() {
    let home = tempfile::tempdir().unwrap();
    let path = image_file("layered.oci.tar");
    let start = |name: &str| {
        let words = ["load".as_ref(), "-i".as_ref(), path.as_os_str(), "--name".as_ref(), name.as_ref()];
        vmrun(words).home(home.path()).start()
    };
    let (one, other) = (start("one"), start("other"));
    one.wait().succeeds();
    other.wait().succeeds();
    assert_eq!(vmrun(["images", "-q"]).home(home.path()).run().succeeds().text().lines().count(), 2);
}

/// A file that one layer writes and the next removes is in the whole disk, and not in the flat one.
#[test]
fn the_flat_root_has_no_removed_files() {
    const LARGE: u64 = 50 << 20;
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    for (directory, file) in [("first", "large"), ("second", ".wh.large")] {
        fs::create_dir(path(directory)).unwrap();
        fs::write(path(directory).join("small"), directory).unwrap();
        fs::File::create(path(directory).join(file)).unwrap();
    }
    let noise: Vec<u8> = (0..LARGE as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(path("first").join("large"), noise).unwrap();
    let layout = path("layout").into_os_string().into_string().unwrap();
    let image = format!("{layout}:latest");
    let tool = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).current_dir(home.path()).output().unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
    };
    tool("umoci", &["init", "--layout", &layout]);
    tool("umoci", &["new", "--image", &image]);
    for layer in ["first", "second"] {
        tool("tar", &["-C", layer, "-cf", "layer.tar", "."]);
        tool("umoci", &["raw", "add-layer", "--image", &image, "layer.tar"]);
    }
    let run = |words: &[&str]| vmrun(words).home(home.path()).run().succeeds();
    run(&["load", "-q", "-i", &layout, "--name", "two"]);
    let export = |name: &str, flat: &[&str]| {
        let file = path(name).into_os_string().into_string().unwrap();
        run(&[&["rootfs", "two", "-o", &file], flat].concat());
        tool("fsck.erofs", &["--extract", &file]);
        fs::read(file).unwrap()
    };
    assert!(export("whole", &[]).len() as u64 > LARGE);
    let flat = export("flat", &["--flat"]);
    assert!(flat.len() < 64 << 10, "{} bytes", flat.len());
    assert!(export("again", &["--flat"]) == flat, "the same image, the same bytes");
    let history = run(&["history", "--format", "json", "two"]);
    let history: serde_json::Value = serde_json::from_slice(&history.stdout).unwrap();
    // The small file was replaced: an inode and five bytes, to the next 32.
    assert_eq!(history[1]["wasted"], LARGE + 96, "{history:#}");
}
