//! `vmrun` and what is around it: doctor, completions, manual, help.

use std::fs;

use tests::vmrun;

#[test]
fn doctor_checks_everything_and_says_what_to_do() {
    let seen = vmrun(["doctor"]).run().succeeds();
    let text = seen.text();
    for check in [
        "processor",
        "/dev/kvm",
        "emulation",
        "guest-init",
        "store",
        "kernels",
        "emulation kernel",
        "confinement",
    ] {
        let line = text.lines().find(|line| line.get(6..).is_some_and(|rest| rest.starts_with(check)));
        let line = line.unwrap_or_else(|| panic!("{check} in\n{text}"));
        assert!(line.starts_with("ok ") || line.starts_with("warn"), "{line}");
    }
    let home = tempfile::tempdir().unwrap();
    let empty = vmrun(["doctor"]).home(home.path()).run().exits_with(1);
    empty.says(&["fail", "vmrun kernel add"]);
}

#[test]
fn completions_and_manual_pages_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        vmrun(["completions", shell]).run().succeeds().says(&["emulate", "rootfs-device"]);
    }
    let directory = tempfile::tempdir().unwrap();
    vmrun(["man".as_ref(), directory.path().as_os_str()]).run().succeeds();
    let page = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    assert!(page("vmrun.1").starts_with(".ie"));
    assert!(page("vmrun-run.1").contains("entrypoint"));
}

#[test]
fn help_and_version_are_no_failures() {
    vmrun(["--help"]).run().succeeds().says(&["vmrun doctor", "Commands:"]);
    vmrun(["run", "--help"]).run().succeeds().says(&["--memory"]);
    vmrun(["--version"]).run().succeeds().says(&["vmrun 0."]);
    vmrun(["--no-such-flag"]).run().exits_with(125);
}

#[test]
fn the_state_directory_is_where_it_was_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let file = crate::image_file("busybox.tar");
    let words =
        ["--root".as_ref(), other.path().as_os_str(), "import".as_ref(), file.as_os_str(), "a".as_ref()];
    vmrun(words).home(home.path()).run().succeeds();
    assert!(other.path().join("oci/index.json").exists() && !home.path().join("oci/index.json").exists());
    let data = home.path().join("data");
    let listed = vmrun(["images", "-q"]).home("").env("XDG_DATA_HOME", &data).env("HOME", home.path()).run();
    listed.succeeds();
}
