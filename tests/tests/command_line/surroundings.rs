//! `vmrun` and what is around it: doctor, completions, manual, help.

use std::fs;
use std::path::{Path, PathBuf};
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

/// A store with three kernels.
fn home_with_kernels() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let vmlinux = PathBuf::from(setting("VMRUN_HOME")).join("kernels").join(KERNEL).join("vmlinux");
    for name in ["debian:6.1", "debian:6.12", "other"] {
        vmrun(["kernel", "add", vmlinux.to_str().unwrap(), "--name", name])
            .home(home.path())
            .run()
            .succeeds();
    }
    home
}

/// A shell that knows of that store, finds vmrun, and has no files of such names before it.
fn shell(program: &str, home: &Path) -> Command {
    let directory = PathBuf::from(setting("VMRUN")).parent().unwrap().to_owned();
    let mut command = Command::new(program);
    command.env("PATH", format!("{}:/usr/bin:/bin", directory.display())).env("VMRUN_HOME", home);
    command.current_dir(home);
    command
}

/// As readline asks: a colon ends a word.
#[test]
fn bash_completes_the_names_of_kernels() {
    let home = home_with_kernels();
    let script = vmrun(["completions", "bash"]).run().succeeds().text();
    let completed = |line: &str| {
        let ask = "COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=($1 '') COMP_CWORD=1; _vmrun_kernel_names vmrun '' ''; \
                   echo ${COMPREPLY[*]}";
        let outcome = shell("bash", home.path())
            .args(["-c", &format!("{script}\n{ask}"), "bash", line])
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
fn fish_completes_the_names_of_kernels() {
    let home = home_with_kernels();
    let completed = |line: &str| {
        let outcome = shell("fish", home.path())
            .args(["--no-config", "-c", "vmrun completions fish | source; complete -C $argv[1]", line])
            .env("HOME", home.path())
            .output()
            .unwrap();
        String::from_utf8(outcome.stdout).unwrap()
    };
    assert_eq!(completed("vmrun run --kernel "), "debian:6.1\ndebian:6.12\nother\n");
    assert_eq!(completed("vmrun run --rm --kernel=o"), "--kernel=other\n");
    assert_eq!(completed("vmrun kernel inspect deb"), "debian:6.1\ndebian:6.12\n");
    assert!(!completed("vmrun run --kernel-arg ").contains("debian"));
}

/// Types into a zsh, a tab behind each line, and writes down what became of it.
const TYPING: &str = r#"
    zmodload zsh/zpty
    zpty shell zsh -f -i
    zpty -w shell "fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D; bindkey '^I' complete-word"
    out=$2
    shift 2
    for line; do
        zpty -w -n shell "$line"$'\t\x01print -r -- "\x05" >>'$out$'\n'
    done
    zpty -w shell exit
    while zpty -r shell; do :; done
"#;

#[test]
fn zsh_completes_the_names_of_kernels() {
    let home = home_with_kernels();
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    fs::write(directory.path().join("_vmrun"), vmrun(["completions", "zsh"]).run().succeeds().stdout)
        .unwrap();
    let lines =
        ["vmrun run --kernel ot", "vmrun matrix --kernel=other --kernel deb", "vmrun kernel inspect oth"];
    let mut zsh = shell("zsh", home.path());
    zsh.args(["-f", "-c", TYPING, "zsh"]).arg(directory.path()).arg(&out).args(lines);
    let screen = String::from_utf8_lossy(&zsh.output().unwrap().stdout).into_owned();
    let typed = fs::read_to_string(out).unwrap_or_default();
    let typed: Vec<&str> = typed.lines().map(str::trim_end).collect();
    let expected = [
        "vmrun run --kernel other",
        "vmrun matrix --kernel=other --kernel debian:6.1",
        "vmrun kernel inspect other",
    ];
    assert_eq!(typed, expected, "{screen}");
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
