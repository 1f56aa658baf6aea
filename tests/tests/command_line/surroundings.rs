//! `vmrun` and what is around it: doctor, completions, manual, help.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tests::{KERNEL, setting, vmrun};

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

/// As readline asks: a colon ends a word.
#[test]
fn bash_completes_the_names_of_kernels() {
    let home = tempfile::tempdir().unwrap();
    let vmlinux = PathBuf::from(setting("VMRUN_HOME")).join("kernels").join(KERNEL).join("vmlinux");
    for name in ["debian:6.1", "debian:6.12", "other"] {
        vmrun(["kernel", "add", vmlinux.to_str().unwrap(), "--name", name])
            .home(home.path())
            .run()
            .succeeds();
    }
    let script = vmrun(["completions", "bash"]).run().succeeds().text();
    let directory = PathBuf::from(setting("VMRUN")).parent().unwrap().to_owned();
    let completed = |line: &str| {
        let ask = "COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=($1 '') COMP_CWORD=1; _vmrun_kernel_names vmrun '' ''; \
                   echo ${COMPREPLY[*]}";
        let outcome = Command::new("bash")
            .args(["-c", &format!("{script}\n{ask}"), "bash", line])
            .env("PATH", format!("{}:/usr/bin:/bin", directory.display()))
            .env("VMRUN_HOME", home.path())
            .output()
            .unwrap();
        String::from_utf8(outcome.stdout).unwrap()
    };
    assert_eq!(completed("vmrun run --kernel "), "debian:6.1 debian:6.12 other\n");
    assert_eq!(completed("vmrun run --rm --kernel=o"), "other\n");
    assert_eq!(completed("vmrun matrix --kernel other --kernel debian:6"), "6.1 6.12\n");
    assert_eq!(completed("vmrun kernel inspect deb"), "debian:6.1 debian:6.12\n");
    assert!(!completed("vmrun run --kernel-arg ").contains("debian"));
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
