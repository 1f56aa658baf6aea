//! Kernels of Debian's archive, as its mirrors have it today.

use std::fs;
use std::path::Path;

use tests::{setting, vmrun};

/// Packages that were fetched before are not fetched again.
fn pull(home: &Path, words: &[&str]) -> tests::Outcome {
    let packages = format!("{}/packages", setting("VMRUN_CACHE"));
    let first = ["kernel", "pull", "--packages", &packages, "--allow-expired"];
    vmrun(first.iter().chain(words)).home(home).run()
}

#[test]
fn a_kernel_is_pulled_by_version_suite_and_flavour() {
    let home = tempfile::tempdir().unwrap();
    for (wanted, begins, ends) in [
        ("debian:5.10", "5.10.", "-cloud-amd64"),
        ("debian:bookworm", "6.1.", "-cloud-amd64"),
        ("debian:6.12", "6.12.", "-cloud-amd64"),
        ("debian:bookworm-backports", "6.12.", "-cloud-amd64"),
        ("debian:sid", "", "-cloud-amd64"),
        ("debian:6.1-generic", "6.1.", "-amd64"),
    ] {
        pull(home.path(), &[wanted]).succeeds().says(&[wanted]);
        let seen = vmrun(["kernel", "inspect", wanted]).home(home.path()).run().succeeds();
        let version = seen.value("version");
        assert!(version.starts_with(begins) && version.ends_with(ends), "{wanted}: {version}");
        assert!(!wanted.ends_with("generic") || !version.contains("cloud"), "{wanted}: {version}");
        seen.says(&["/main/l/linux", "checked: InRelease of ", "Archive Automatic Signing Key"]);
    }
    let listed = vmrun(["kernel", "ls"]).home(home.path()).run().succeeds().text();
    assert_eq!(listed.lines().count(), 7, "{listed}");
    // The second time there is nothing to do.
    pull(home.path(), &["debian:6.12"]).succeeds().complains(&["debian:6.12 is up to date"]);
}

#[test]
fn what_the_archive_has_is_listed() {
    let home = tempfile::tempdir().unwrap();
    let search = |words: &[&str]| {
        let first = ["kernel", "search", "debian", "--allow-expired"];
        vmrun(first.iter().chain(words)).home(home.path()).run().succeeds().text()
    };
    let all = search(&[]);
    for (suite, kernel) in
        [("bookworm", "debian:6.1."), ("bullseye", "debian:5.10."), ("trixie", "debian:6.12.")]
    {
        let line = all.lines().find(|line| line.split_whitespace().nth(3) == Some(suite));
        assert!(line.is_some_and(|line| line.starts_with(kernel)), "{suite}: {all}");
    }
    assert!(all.contains(" sid "), "{all}");
    let some = search(&["*-rt-amd64"]);
    assert!(
        some.lines().skip(1).all(|line| line.contains("-rt-amd64  ")) && some.lines().count() > 3,
        "{some}"
    );
}

#[test]
fn what_is_not_there_or_not_signed_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let refused = |words: &[&str], expected: &[&str]| pull(home.path(), words).is_refused(expected);
    refused(&["debian:6.66"], &["6.66", "vmrun kernel search debian"]);
    refused(&["debian:wheezy"], &["no suite wheezy"]);
    refused(&["6.1"], &["debian:6.12"]);
    refused(&["debian:../../x"], &["no kernel of Debian's"]);
    refused(&["debian:6.1", "--mirror", "http://127.0.0.1:1/debian"], &["127.0.0.1:1", "nothing answers"]);
    refused(&["debian:6.1", "--mirror", "file:///debian"], &["no address of the web"]);
    refused(&["debian:6.1", "--keyring", "/no/such"], &["debian-archive-keyring"]);
    let empty = home.path().join("keyring.gpg");
    fs::write(&empty, "").unwrap();
    refused(&["debian:6.1", "--keyring", empty.to_str().unwrap()], &["is not signed by a key of"]);
    let build = ["kernel", "build", "--source", "linux-source-0.0", "--allow-expired"];
    vmrun(build).home(home.path()).run().is_refused(&["Debian has no package linux-source-0.0"]);
    assert_eq!(vmrun(["kernel", "ls", "-q"]).home(home.path()).run().succeeds().text(), "");
}

/// As with images: what is named and not there is pulled, unless that is forbidden.
#[test]
fn a_machine_has_its_kernel_pulled() {
    let home = tempfile::tempdir().unwrap();
    let tar = super::image_file("busybox.tar");
    let run = |words: &[&str]| vmrun(words).home(home.path()).run();
    run(&["import", "--quiet", "--cmd", "sh", tar.to_str().unwrap(), "busybox"]).succeeds();
    let create = ["create", "--kernel", "debian:5.10"];
    let with = |more: &[&str]| run(&[&create[..], more, &["busybox"]].concat());
    with(&["--pull", "never"]).is_refused(&["no kernel named debian:5.10"]);
    with(&[]).succeeds().complains(&["Unable to find kernel ‘debian:5.10’ locally"]);
    assert_eq!(run(&["kernel", "ls", "-q"]).succeeds().text(), "debian:5.10\n");
    run(&["create", "--kernel", "debian:5.10-cloud", "--pull", "never", "busybox"]).succeeds();
    run(&["create", "--kernel", "nothing", "busybox"]).is_refused(&["no kernel named nothing"]);
}
