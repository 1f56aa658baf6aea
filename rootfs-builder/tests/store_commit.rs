//! Images made of another one's layers and one more.

mod store_support;

use std::fs;
use std::io::{self, Read};
use std::process::Command;

use rootfs_builder::digest::Digest;
use rootfs_builder::instruction::Instruction;
use rootfs_builder::progress::Silent;
use rootfs_builder::store::{Commit, Error, LoadSource, Loaded};
use serde_json::{Value, json};
use store_support::{TestImage, TestStore, layer_tar};

/// A store with an image called `base`.
fn store() -> (TestStore, TestImage) {
    let (test, image) = (TestStore::new(), TestImage::new(1));
    let layout = test.beside("layout");
    image.layout("base").write(&layout);
    test.store.load(LoadSource::Directory(layout), Some(&"base".parse().unwrap()), &Silent).unwrap();
    (test, image)
}

fn commit(test: &TestStore, commit: &Commit, layer: impl Read, name: Option<&str>) -> Result<Loaded, Error> {
    let base = test.store.resolve("base")?;
    let prepared = test.store.prepare_commit(&base, commit)?;
    let name = name.map(|name| name.parse().unwrap());
    test.store.commit(prepared, layer, name.as_ref(), &Silent)
}

fn configuration(test: &TestStore, name: &str) -> Value {
    let image = test.store.resolve(name).unwrap();
    serde_json::from_slice(&test.store.content(&image).unwrap().config.bytes).unwrap()
}

#[test]
fn a_commit_is_the_base_and_one_layer_more() {
    let (test, base) = store();
    let before = configuration(&test, "base");
    let blobs = |test: &TestStore| {
        let mut blobs: Vec<_> = fs::read_dir(test.store.root().join("oci/blobs/sha256"))
            .unwrap()
            .map(|blob| blob.unwrap().path())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        blobs.sort();
        blobs
    };
    let blobs_before = blobs(&test);
    let tar = layer_tar(&[("etc/motd", b"changed\n"), ("srv/.wh.data", b"")]);
    let details = Commit {
        settings: vec![Instruction::Cmd(vec!["serve".into()])],
        changes: vec!["ENV B=$A".into(), "LABEL made=by-hand".into()],
        author: Some("Ada".into()),
        message: Some("what I did".into()),
        created_by: "serve".into(),
        created: None,
    };
    let made = commit(&test, &details, tar.as_slice(), Some("new:1")).unwrap();
    assert_eq!(made.reference.unwrap().to_string(), "new:1");

    let after = configuration(&test, "new:1");
    let mut diff_ids: Vec<Value> = before["rootfs"]["diff_ids"].as_array().unwrap().clone();
    diff_ids.push(json!(Digest::of(&tar)));
    assert_eq!(after["rootfs"]["diff_ids"], json!(diff_ids));
    assert_eq!(after["config"]["Env"], json!(["A=1", "B=1"]));
    assert_eq!(
        (&after["config"]["Cmd"], &after["config"]["Labels"]["made"]),
        (&json!(["serve"]), &json!("by-hand"))
    );
    assert_eq!(
        (&after["config"]["WorkingDir"], &after["config"]["Unknown"]),
        (&json!("/srv"), &json!([1, {}]))
    );
    assert_eq!(after["author"], "Ada");
    let history = after["history"].as_array().unwrap();
    assert_eq!(history.len(), diff_ids.len(), "a step for every layer");
    let last = history.last().unwrap();
    assert_eq!(
        (&last["created_by"], &last["comment"], &last["author"]),
        (&json!("serve"), &json!("what I did"), &json!("Ada"))
    );

    // Not a byte of the base has changed, and its layers are the new image's.
    assert!(blobs_before.iter().all(|blob| blobs(&test).contains(blob)));
    let content = test.store.content(&test.store.resolve("new:1").unwrap()).unwrap();
    let base_blobs: Vec<Digest> = base.layers.iter().map(|(blob, _)| Digest::of(blob)).collect();
    assert_eq!(content.layers.iter().map(|layer| layer.blob).collect::<Vec<_>>()[..2], base_blobs);
    let mut blob = Vec::new();
    let last = content.layers.last().unwrap();
    assert_eq!(last.descriptor.media_type().to_string(), "application/vnd.oci.image.layer.v1.tar+gzip");
    let file = test.store.open_blob(&last.blob).unwrap();
    flate2::read::GzDecoder::new(file).read_to_end(&mut blob).unwrap();
    assert_eq!(blob, tar);
    test.check();
}

#[test]
fn nothing_changed_is_a_layer_too() {
    let (test, _) = store();
    let made = commit(&test, &Commit::default(), &[0; 1024][..], None).unwrap();
    let image = test.store.resolve(&made.id.to_string()).unwrap();
    assert_eq!(image.layers().count(), 3);
    test.check();
}

#[test]
fn a_layer_that_breaks_off_leaves_nothing() {
    struct Breaking(usize);
    impl Read for Breaking {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("the machine ended"));
            }
            let length = self.0.min(into.len());
            self.0 -= length;
            into[..length].fill(0);
            Ok(length)
        }
    }
    let (test, _) = store();
    for length in [0, 512, 1024, 600_000] {
        let error = commit(&test, &Commit::default(), Breaking(length), Some("new")).unwrap_err();
        assert!(error.to_string().contains("the machine ended"), "{length}: {error}");
        assert!(matches!(test.store.resolve("new"), Err(Error::NotFound(_))));
    }
    assert!(commit(&test, &Commit::default(), &b""[..], Some("new")).is_err());
    test.store.collect().unwrap();
    assert_eq!(fs::read_dir(test.store.root().join("layers/sha256")).unwrap().count(), 2);
    test.check();
}

#[test]
fn a_change_that_is_none_is_refused_before_anything_is_read() {
    let (test, _) = store();
    let details = Commit { changes: vec!["RUN make".into()], ..Commit::default() };
    let base = test.store.resolve("base").unwrap();
    let error = test.store.prepare_commit(&base, &details).unwrap_err().to_string();
    assert!(error.contains("‘RUN’") && error.contains("ENTRYPOINT"), "{error}");
}

#[test]
fn skopeo_and_umoci_accept_it() {
    let (test, _) = store();
    let tar = layer_tar(&[("etc/motd", b"changed\n"), ("srv/.wh.data", b""), ("added", b"x")]);
    commit(&test, &Commit::default(), tar.as_slice(), Some("new:1")).unwrap();
    let run = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let store = text(&test.store.root().join("oci"));
    let (layout, bundle) = (test.beside("out"), test.beside("bundle"));
    let from = format!("oci:{store}:docker.io/library/new:1");
    run("skopeo", &["--insecure-policy", "copy", "-q", &from, &format!("oci:{}:new", text(&layout))]);
    run("umoci", &["unpack", "--rootless", "--image", &format!("{}:new", text(&layout)), &text(&bundle)]);
    assert_eq!(fs::read(bundle.join("rootfs/etc/motd")).unwrap(), b"changed\n");
    assert!(bundle.join("rootfs/added").exists() && !bundle.join("rootfs/srv/data").exists());
}
