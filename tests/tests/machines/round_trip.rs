//! A change on its way: made in a machine, kept as an image, shared, taken back and run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tests::{Detached, DockerRegistry, setting, vmrun};

#[test]
fn an_editor_is_installed_committed_pushed_pulled_and_run() {
    let registry = DockerRegistry::start();
    let image = format!("{}/edited:1", registry.host);
    let base = parts("debian");

    let machine = Detached::run(&[], "debian", &["sleep", "100000"]);
    for package in packages() {
        let to = format!("{}:/root/", machine.id);
        vmrun(["cp", package.to_str().unwrap(), &to]).run().succeeds();
    }
    let patience = Duration::from_secs(300);
    machine
        .vmrun(&["exec"], &["sh", "-c", "dpkg -i /root/*.deb && rm /root/*.deb"])
        .patience(patience)
        .run()
        .succeeds();
    machine.vmrun(&["diff"], &[]).run().succeeds().says(&["A /usr/bin/nano\n", "C /var/lib/dpkg/status\n"]);
    let words = ["commit", "-m", "with an editor", "-a", "A. Tester", "-c", "CMD [\"nano\", \"--version\"]"];
    vmrun([&words[..], &[&machine.id, &image]].concat())
        .patience(patience)
        .run()
        .succeeds()
        .says(&["sha256:"]);
    vmrun(["images", &image]).run().succeeds().says(&["edited", "MB"]);
    vmrun(["history", &image]).run().succeeds().says(&["with an editor"]);

    vmrun(["push", &image]).patience(patience).run().succeeds();
    vmrun(["rmi", &image]).run().succeeds();
    vmrun(["run", "--rm", "--pull", "never", &image]).run().is_refused(&["edited"]);
    vmrun(["pull", &image]).patience(patience).run().succeeds();
    vmrun(["run", "--rm", &image]).run().succeeds().says(&["GNU nano"]);
    vmrun(["rmi", &image]).run().succeeds();

    assert_eq!(parts("debian"), base, "the base image has not changed by a byte");
    vmrun(["run", "--rm", "debian", "nano"]).run().exits_with(127);
}

/// The editor and the library it needs.
fn packages() -> Vec<PathBuf> {
    let directory = Path::new(&setting("VMRUN_CACHE")).join("packages/editor");
    let packages: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(packages.len(), 2, "{packages:?}: scripts/make-test-store downloads them");
    packages
}

/// What the image's disk consists of: each file, and its content's digest.
fn parts(image: &str) -> Vec<(String, String)> {
    let format = "{{json .Disk.Parts}}";
    let said = vmrun(["inspect", "--type", "image", "--format", format, image]).run().succeeds().text();
    let paths: Vec<String> = serde_json::from_str(&said).unwrap();
    paths.into_iter().map(|path| (path.clone(), digest(&path))).collect()
}

fn digest(path: &str) -> String {
    let digest = Sha256::digest(fs::read(path).unwrap());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
