//! What is said of images that are there: names, filters, histories, everything.

use std::path::Path;

use serde_json::Value;
use tests::vmrun;

use crate::image_file;

/// A store with two images, of which one has two names and the other is older and labelled.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let (layered, busybox) = (image_file("layered.docker.tar"), image_file("busybox.tar"));
    let words = ["import", "-q", "--cmd", "sh", "--label", "tier=base"].map(std::ffi::OsStr::new);
    vmrun(words.into_iter().chain([busybox.as_os_str(), "box".as_ref()])).home(home.path()).run().succeeds();
    vmrun(["load".as_ref(), "-qi".as_ref(), layered.as_os_str()]).home(home.path()).run().succeeds();
    vmrun(["tag", "example.org/saved:1", "team/app:2"]).home(home.path()).run().succeeds();
    home
}

fn lines(home: &Path, words: &[&str]) -> Vec<Vec<String>> {
    let table = vmrun(words).home(home).run().succeeds().text();
    let cells = |line: &str| -> Vec<String> {
        line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    table.lines().map(cells).collect()
}

fn json(home: &Path, words: &[&str]) -> Value {
    serde_json::from_slice(&vmrun(words).home(home).run().succeeds().stdout).unwrap()
}

#[test]
fn names_are_given_and_filtered() {
    let home = home();
    let listed = |filters: &[&str]| -> Vec<String> {
        let words: Vec<&str> = ["images"].iter().chain(filters).copied().collect();
        let mut names: Vec<String> = lines(home.path(), &words)
            .into_iter()
            .skip(1)
            .map(|line| format!("{}:{}", line[0], line[1]))
            .collect();
        names.sort();
        names
    };
    assert_eq!(listed(&["-a"]), ["box:latest", "example.org/saved:1", "team/app:2"]);
    assert_eq!(listed(&["team/app"]), ["team/app:2"]);
    assert_eq!(listed(&["-f", "reference=*/*:2"]), ["team/app:2"]);
    assert_eq!(listed(&["--filter", "label=tier=base"]), ["box:latest"]);
    assert_eq!(listed(&["--filter", "label=tier=other"]), [""; 0]);
    assert_eq!(listed(&["--filter", "since=team/app:2"]), ["box:latest"], "imported now, made then");
    assert_eq!(listed(&["--filter", "before=box"]), ["example.org/saved:1", "team/app:2"]);
    assert_eq!(listed(&["--filter", "dangling=true"]), [""; 0]);
    vmrun(["tag", "box", "team/app:2"]).home(home.path()).run().succeeds();
    vmrun(["tag", "box", "example.org/saved:1"]).home(home.path()).run().succeeds();
    assert_eq!(listed(&["--filter", "dangling=true"]).len(), 1, "it lost both its names");
    for (words, complaint) in [
        (&["images", "-f", "colour=red"][..], "colour"),
        (&["images", "-f", "dangling=perhaps"], "perhaps"),
        (&["images", "-f", "before=nothing"], "nothing"),
        (&["images", "-f", "label"], "label"),
        (&["images", "[a"], "[a"),
        (&["tag", "nothing", "x"], "nothing"),
        (&["tag", "box", "Upper"], "Upper"),
    ] {
        vmrun(words).home(home.path()).run().is_refused(&[complaint]);
    }
    let id = &json(home.path(), &["images", "--format", "json", "box"])[0];
    let digest = &lines(home.path(), &["images", "--digests", "box"])[1];
    assert!(digest.iter().any(|cell| id["digest"] == **cell), "{digest:?} {id}");
}

#[test]
fn an_image_is_inspected_whole_or_by_field() {
    let home = home();
    let all = json(home.path(), &["inspect", "team/app:2"]);
    let image = &all[0];
    assert_eq!(image["RepoTags"], serde_json::json!(["example.org/saved:1", "team/app:2"]));
    assert_eq!((&image["Os"], &image["Architecture"]), (&"linux".into(), &"amd64".into()));
    assert_eq!(image["RootFS"]["Layers"].as_array().unwrap().len(), 3);
    let parts: u64 = image["Disk"]["Parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| std::fs::metadata(part.as_str().unwrap()).unwrap().len())
        .sum();
    assert_eq!(image["Size"], parts, "the disk is its parts");
    let field = |format: &str| vmrun(["inspect", "-f", format, "box"]).home(home.path()).run();
    assert_eq!(field("{{.Config.Cmd}}").succeeds().text().trim(), r#"["sh"]"#);
    assert_eq!(field("{{.Os}}/{{.Architecture}}").succeeds().text().trim(), "linux/amd64");
    field("{{range .Config.Cmd}}{{.}}{{end}}").is_refused(&["range"]);
    field("{{.Config.Nothing}}").is_refused(&["Nothing"]);
    let partly = vmrun(["inspect", "nothing", "box"]).home(home.path()).run().exits_with(125);
    assert!(partly.stderr.contains("nothing"), "{}", partly.stderr);
    assert_eq!(serde_json::from_slice::<Value>(&partly.stdout).unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn a_machine_whose_record_is_damaged_can_be_removed() {
    let home = home();
    let directory = home.path().join("machines/0123456789ab");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("machine.json"), "{\"id\":").unwrap();
    std::fs::write(directory.join("name"), "torn").unwrap();
    let at_home = |words: &[&str]| vmrun(words.to_vec()).home(home.path()).run();
    for word in ["0123", "torn"] {
        at_home(&["inspect", word]).is_refused(&["machine.json", "damaged"]);
        at_home(&["inspect", "--type", "image", word]).is_refused(&[word]);
    }
    at_home(&["inspect", "--type", "machine", "box"]).is_refused(&["box"]);
    assert_eq!(at_home(&["ps", "-aq"]).succeeds().text(), "");
    at_home(&["rm", "torn"]).succeeds();
    assert!(!directory.exists());
}

#[test]
fn a_history_tells_what_is_wasted() {
    let home = home();
    let table = lines(home.path(), &["history", "example.org/saved:1"]);
    assert_eq!(
        table[0],
        ["IMAGE", "CREATED", "CREATED BY", "SIZE", "WASTED", "COMMENT"].map(str::to_owned).to_vec()
    );
    let steps = json(home.path(), &["history", "--format", "json", "example.org/saved:1"]);
    let steps = steps.as_array().unwrap();
    let layers: Vec<&Value> = steps.iter().filter(|step| !step["diff_id"].is_null()).collect();
    assert_eq!(layers.len(), 3);
    assert_eq!(layers[0]["wasted"], 0, "nothing is above the last");
    assert!(layers[1]["wasted"].as_u64() > Some(0), "the last replaces and hides: {}", layers[1]);
    assert_eq!(steps[1]["id"], "<missing>");
    let ids = vmrun(["history", "-q", "box"]).home(home.path()).run().succeeds().text();
    assert_eq!(ids.lines().count(), 1);
    vmrun(["history", "nothing"]).home(home.path()).run().is_refused(&["nothing"]);
}
