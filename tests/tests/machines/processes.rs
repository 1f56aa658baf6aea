//! The process is what the command line says it is, in the surroundings that it expects.

use std::fs;

use tests::{Detached, machine};

#[test]
fn user_directory_and_environment_are_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("env");
    fs::write(&file, "# a comment\nFROM_FILE=file\nBOTH=file\nFROM_HOST\n").unwrap();
    let seen = machine("configured:1")
        .env("FROM_HOST", "host")
        .with([
            "--env-file",
            file.to_str().unwrap(),
            "-e",
            "BOTH=flag",
            "--env",
            "EMPTY=",
            "-e",
            "NOT_ON_THE_HOST",
        ])
        .with(["-u", "alice:staff", "-w", "/new/directory", "--entrypoint", "/bin/sh"])
        .command([
            "-c",
            "echo user $(id -u) $(id -g); echo groups $(id -G); echo directory $(pwd); echo pid $$; env",
        ])
        .run()
        .succeeds();
    assert_eq!(seen.value("user"), "1000 50");
    assert!(seen.value("groups").starts_with("50"));
    assert_eq!(seen.value("directory"), "/new/directory");
    assert_eq!(seen.value("pid"), "1");
    let text = seen.text();
    let variables: Vec<&str> = text.lines().filter(|line| line.contains('=')).collect();
    for variable in
        ["FROM_FILE=file", "BOTH=flag", "FROM_HOST=host", "COLOUR=blue", "EMPTY=", "HOME=/home/alice"]
    {
        assert!(variables.contains(&variable), "{variable} in {variables:?}");
    }
    assert!(!variables.iter().any(|variable| variable.starts_with("NOT_ON_THE_HOST")), "{variables:?}");
}

#[test]
fn a_named_user_has_its_groups_and_a_number_needs_no_name() {
    let seen = machine("busybox").with(["-u", "alice"]).shell("echo groups $(id -G)").run().succeeds();
    let groups = seen.value("groups");
    let mut groups: Vec<&str> = groups.split(' ').collect();
    groups.sort_unstable();
    assert_eq!(groups, ["10", "1000", "50"]);
    let seen =
        machine("busybox").with(["-u", "4294967:77"]).shell("echo user $(id -u) $(id -g)").run().succeeds();
    assert_eq!(seen.value("user"), "4294967 77");
}

#[test]
fn the_machine_has_a_name_and_files_of_its_own() {
    let seen = machine("busybox")
        .with(["--hostname", "box.example"])
        .shell(
            "echo hostname $(hostname); echo file $(cat /etc/hostname); echo variable $HOSTNAME; cat /etc/hosts;
             echo resolv $(ls /etc/resolv.conf); ping -c 1 -W 5 localhost >/dev/null && echo loopback works;
             awk '{ print \"mount \" $2 \" \" $3 }' /proc/mounts; ls -l /proc/self/fd >/dev/null && echo proc works;
             echo shm >/dev/shm/file && cat /dev/shm/file; ls -d /dev/null /dev/ptmx /dev/fd /dev/stdout",
        )
        .run()
        .succeeds();
    assert_eq!(seen.value("hostname"), "box.example");
    assert_eq!(seen.value("file"), "box.example");
    assert_eq!(seen.value("resolv"), "/etc/resolv.conf");
    let seen = seen.says(&["127.0.0.1\tlocalhost", "box.example", "loopback works", "proc works", "shm"]);
    assert!(!seen.text().contains("the image has no say here"), "/etc/hosts is the machine's");
    for (place, kind) in [
        ("/", "overlay"),
        ("/proc", "proc"),
        ("/sys", "sysfs"),
        ("/dev", "devtmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/sys/fs/cgroup", "cgroup2"),
        ("/run", "tmpfs"),
        ("/etc/hosts", "tmpfs"),
        ("/etc/hostname", "tmpfs"),
        ("/etc/resolv.conf", "tmpfs"),
    ] {
        assert!(
            seen.text().lines().any(|line| line == format!("mount {place} {kind}")),
            "{place}: {}",
            seen.text()
        );
    }
}

#[test]
fn orphans_are_reaped_and_children_die_with_their_machine() {
    let seen = machine("busybox")
        .shell(
            "(sh -c 'sleep 0.2 & exit') ; (sleep 1000 &) ; sleep 1;
             echo zombies $(ps -o stat | grep -c ^Z); echo children $(ps -o args | grep -c '^[s]leep 1000'); echo done",
        )
        .run()
        .succeeds();
    assert_eq!(seen.value("zombies"), "0");
    assert_eq!(seen.value("children"), "1");
    seen.says(&["done"]);
}

/// What guest-init has open is nobody's working directory: not the layers, nor the bootfs, nor the cgroups.
#[test]
fn the_working_directory_is_none_of_guest_inits() {
    for number in ["4", "8"] {
        machine("busybox")
            .with(["-w", &format!("/proc/self/fd/{number}")])
            .command(["ls", "-a"])
            .run()
            .exits_with(125)
            .complains(&["cannot use the working directory /proc/self/fd/"]);
    }
    let running = Detached::shell(
        &[],
        "busybox",
        "for n in $(seq 3 40); do ln -s /proc/self/fd/$n /$n; done; sleep 100000",
    );
    running.exec("until test -L /40; do sleep 0.1; done").succeeds();
    for number in [3, 5, 8, 11, 14] {
        let refused = running.vmrun(&["exec", "-w", &format!("/{number}")], &["ls", "-a"]).run();
        assert!([125, 127].contains(&refused.code()), "{number}: {}", refused.text());
    }
    let inside = running.vmrun(&["exec", "-w", "/proc/1/cwd/data"], &["pwd", "-P"]).run().succeeds();
    assert_eq!(inside.text(), "/data\n");
}
