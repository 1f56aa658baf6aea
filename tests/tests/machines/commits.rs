//! Images made of machines.

use std::fs;
use std::path::Path;
use std::process;
use std::thread;
use std::time::Duration;

use tests::{Detached, machine, setting, vmrun};

/// An image that goes when a test is over.
struct Made(&'static str);

impl Drop for Made {
    fn drop(&mut self) {
        let _ = vmrun(["rmi", "-f", self.0]).run();
    }
}

fn run(program: &str, words: &[&str]) {
    let output = process::Command::new(program).args(words).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&said));
}

/// Everything about the files in a tree but the times of directories, whose entries `tar` makes last.
fn listing(tree: &Path) -> String {
    let script = "cd \"$1\" && find . -mindepth 1 ! -type d -printf '%P %y %m %U %G %s %T@ %n %l\\n' -o \
        -mindepth 1 -printf '%P %y %m %U %G\\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum && \
        getfattr -Rd -m '^(user|security.capability)' . 2>/dev/null";
    let output =
        process::Command::new("sh").args(["-c", script, "sh", tree.to_str().unwrap()]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_commit_unpacked_is_the_machines_root() {
    let made = Made("committed:root");
    let changes = "cd / && rm -r kept && mkdir kept && echo new >kept/new && rm added becomes-file && mkdir becomes-file &&
        echo x >replaced && mkdir -p a/b && echo y >a/b/c && ln a/b/c a/hard && ln -s nowhere a/link && mkfifo a/fifo &&
        chown 1000:50 a/b/c && chmod 4750 a/b/c && mknod a/null c 1 3 && chmod 700 var";
    for stopped in [false, true] {
        let machine = Detached::run(&[], "from-directory", &["sleep", "1000"]);
        machine.exec(changes).succeeds();
        if stopped {
            machine.vmrun(&["kill"], &[]).run().succeeds();
            machine.becomes("exited");
        }
        let id = vmrun(["commit", &machine.id, made.0]).run().succeeds().text();
        assert!(id.starts_with("sha256:") && id.len() == 72, "{id}");

        let work = tempfile::tempdir().unwrap();
        let path = |name: &str| work.path().join(name).to_str().unwrap().to_owned();
        vmrun(["export", "-o", &path("root.tar"), &machine.id]).run().succeeds();
        fs::create_dir(path("exported")).unwrap();
        run("tar", &["-C", &path("exported"), "--xattrs", "--xattrs-include=*", "-xpf", &path("root.tar")]);
        let from = format!("oci:{}/oci:docker.io/library/{}", setting("VMRUN_HOME"), made.0);
        run("skopeo", &["--insecure-policy", "copy", "-q", &from, &format!("oci:{}:x", path("layout"))]);
        run("umoci", &["unpack", "--image", &format!("{}:x", path("layout")), &path("bundle")]);
        let (exported, unpacked) =
            (listing(Path::new(&path("exported"))), listing(Path::new(&path("bundle/rootfs"))));
        assert!(exported.contains("a/b/c f 4750 1000 50") && exported.contains("a/null c"), "{exported}");
        assert_eq!(exported, unpacked, "stopped: {stopped}");
    }
}

#[test]
fn a_committed_image_runs_and_its_base_has_not_changed() {
    let made = Made("committed:runs");
    let base = || vmrun(["inspect", "busybox"]).run().succeeds().text();
    let before = base();
    let words = ["-e", "FROM=machine", "-w", "/data", "--label", "l=v"];
    let machine = Detached::run(&words, "busybox", &["sleep", "1000"]);
    machine.exec("echo '#!/bin/sh\necho editor $*' >/bin/editor; chmod +x /bin/editor").succeeds();
    let words = [
        "-q",
        "-m",
        "an editor",
        "-a",
        "Ada <ada@example.org>",
        "-c",
        "CMD [\"editor\", \"file\"]",
        "-c",
        "ENV TWICE=$FROM-$FROM",
    ];
    vmrun([&["commit"], &words[..], &[&machine.id, made.0]].concat()).run().succeeds();
    machine.exec("true").succeeds();
    assert_eq!(tests::machine(made.0).run().succeeds().text(), "editor file\n");
    let seen = tests::machine(made.0).shell("echo $FROM $TWICE; pwd").run().succeeds();
    assert_eq!(seen.text(), "machine machine-machine\n/data\n");
    vmrun(["history", made.0]).run().succeeds().says(&["sleep 1000", "an editor"]);
    vmrun(["inspect", made.0]).run().succeeds().says(&["Ada <ada@example.org>", "\"l\": \"v\""]);
    assert_eq!(base(), before);
}

/// Also when another commit, which began before, is done before.
#[test]
fn processes_stand_still_while_they_are_committed() {
    let (made, other) = (Made("committed:still"), Made("committed:too"));
    // Both are written one after the other, and are far from one another in the layer.
    let script = "mkdir /d; cd /d; for i in 1 2 3 4 5 6 7 8; do cat /bin/busybox; done >m; echo up; n=0;
        while :; do n=$((n + 1)); echo $n >a.new; mv a.new a; echo $n >z.new; mv z.new z; done";
    let machine = Detached::shell(&[], "busybox", script);
    machine.logs("up");
    let commit = |image| vmrun(["commit", "-q", &machine.id, image]).patience(Duration::from_secs(400));
    let first = commit(other.0).start();
    thread::sleep(Duration::from_millis(300));
    commit(made.0).run().succeeds();
    first.wait().succeeds();
    for image in [&made, &other] {
        let seen = tests::machine(image.0).shell("cat /d/a /d/z").run().succeeds().text();
        let numbers: Vec<i64> = seen.lines().map(|line| line.parse().unwrap()).collect();
        let [a, z] = numbers[..] else { panic!("{seen}") };
        assert!((0..=1).contains(&(a - z)), "{a} and {z} are not of one moment");
    }
    // And they go on.
    let count = || machine.exec("cat /d/a").succeeds().text();
    let first = count();
    assert_ne!(first, count());
}

#[test]
fn a_machine_that_is_paused_during_a_commit_stays_so() {
    let made = Made("committed:paused");
    let script = "mkdir /d; cd /d; for i in 1 2 3 4 5 6 7 8; do cat /bin/busybox; done >m; n=0;
        while :; do n=$((n + 1)); echo $n >a; done";
    let machine = Detached::shell(&[], "busybox", script);
    machine.exec("while ! test -e /d/a; do sleep 0.1; done").succeeds();
    let commit = vmrun(["commit", "-q", &machine.id, made.0]).start();
    thread::sleep(Duration::from_millis(300));
    machine.vmrun(&["pause"], &[]).run().succeeds();
    commit.wait().succeeds();
    machine.becomes("paused");
    // Only its processes know whether that is so.
    machine.vmrun(&["exec"], &["true"]).run().is_refused(&["paused"]);
    machine.vmrun(&["unpause"], &[]).run().succeeds();
    let count = || machine.exec("cat /d/a").succeeds().text();
    assert_ne!(count(), count());
}

#[test]
fn a_commit_that_is_killed_leaves_a_machine_that_runs_and_no_image() {
    let script = "mkdir /d; cd /d; for i in 1 2 3 4 5 6 7 8; do cat /bin/busybox; done >m; n=0;
        while :; do n=$((n + 1)); echo $n >a; done";
    let machine = Detached::shell(&[], "busybox", script);
    machine.exec("while ! test -e /d/a; do sleep 0.1; done").succeeds();
    let commit = vmrun(["commit", "-q", &machine.id, "committed:not"]).start();
    // Wherever it is by then: the processes are not held up for longer than it lives.
    thread::sleep(Duration::from_millis(300));
    commit.signal(rustix::process::Signal::KILL);
    assert_eq!(commit.wait().code(), 137);
    let advances =
        "a=$(cat /d/a); for i in $(seq 100); do sleep 0.1; [ $a = $(cat /d/a) ] || exit 0; done; exit 1";
    machine.exec(advances).succeeds();
    vmrun(["inspect", "committed:not"]).run().is_refused(&["committed:not"]);
}

#[test]
fn mistakes_are_told_before_anything_stands_still() {
    let machine = Detached::run(&[], "busybox", &["sleep", "1000"]);
    vmrun(["commit", "-c", "RUN make", &machine.id, "committed:not"]).run().is_refused(&["‘RUN’"]);
    vmrun(["commit", &machine.id, "Not A Name"]).run().is_refused(&["Not A Name"]);
    vmrun(["commit", "nobody-is-called-so", "committed:not"]).run().is_refused(&["nobody-is-called-so"]);
    let id = vmrun(["commit", "-q", &machine.id]).run().succeeds().text();
    assert!(machine_of(id.trim()).contains("sh"), "nothing has changed, and it is an image");
    vmrun(["rmi", id.trim()]).run().succeeds();
}

fn machine_of(image: &str) -> String {
    machine(image).shell("ls /bin/sh").run().succeeds().text()
}
