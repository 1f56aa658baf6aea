//! cp, diff and export, of machines that run and of machines that do not.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use tests::{Command, Detached, vmrun};

const IDLE: &[&str] = &["sleep", "1000"];

/// What a shell does to the image of two layers.
const CHANGES: &str = "cd / && echo changed >replaced && rm added && rm -r kept && mkdir kept && echo new >kept/new &&
    mkdir -p fresh/deep && echo x >fresh/deep/file && ln fresh/deep/file fresh/hard && ln -s /etc fresh/link &&
    mkfifo fresh/fifo && chmod 4755 fresh/deep/file && rm becomes-file && mkdir becomes-file && echo gone >gone &&
    rm gone && sync";

const DIFFERENCES: &str = "D /added
C /becomes-file
A /fresh
A /fresh/deep
A /fresh/deep/file
A /fresh/fifo
A /fresh/hard
A /fresh/link
C /kept
D /kept/file
D /kept/linked
A /kept/new
C /replaced
";

fn cp(from: impl AsRef<str>, to: impl AsRef<str>) -> Command {
    vmrun(["cp", from.as_ref(), to.as_ref()])
}

fn at(machine: &Detached, path: &str) -> String {
    format!("{}:{path}", machine.id)
}

fn kill(machine: &Detached) {
    machine.vmrun(&["kill"], &[]).run().succeeds();
    machine.becomes("exited");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn what_nobody_has_touched_does_not_differ() {
    for image in ["busybox", "debian", "from-directory"] {
        let machine = Detached::run(&[], image, IDLE);
        machine
            .exec("cat /etc/hosts /etc/passwd >/dev/null; ls -R /usr >/dev/null; echo x >/dev/shm/x")
            .succeeds();
        assert_eq!(machine.vmrun(&["diff"], &[]).run().succeeds().text(), "", "{image} while it runs");
        kill(&machine);
        assert_eq!(machine.vmrun(&["diff"], &[]).run().succeeds().text(), "", "{image} after it ran");
    }
}

#[test]
fn what_differs_is_told_while_a_machine_runs_and_when_it_does_not() {
    let machine = Detached::run(&[], "from-directory", IDLE);
    machine.exec(CHANGES).succeeds();
    assert_eq!(machine.vmrun(&["diff"], &[]).run().succeeds().text(), DIFFERENCES);
    kill(&machine);
    assert_eq!(machine.vmrun(&["diff"], &[]).run().succeeds().text(), DIFFERENCES);
}

#[test]
fn a_tree_comes_back_as_it_went() {
    let machine = Detached::run(&[], "busybox", IDLE);
    let host = tempfile::tempdir().unwrap();
    let there = host.path().join("tree");
    fs::create_dir_all(there.join("sub/empty")).unwrap();
    fs::write(there.join("large"), (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>())
        .unwrap();
    fs::write(there.join("line\nbreak – ü"), "odd name").unwrap();
    fs::write(there.join("n".repeat(250)), "long name").unwrap();
    fs::hard_link(there.join("large"), there.join("sub/hard")).unwrap();
    symlink("../nowhere", there.join("sub/link")).unwrap();
    fs::File::create(there.join("sparse")).unwrap().set_len(200 << 20).unwrap();
    fs::set_permissions(there.join("sub"), fs::Permissions::from_mode(0o710)).unwrap();
    rustix::fs::utimensat(
        rustix::fs::CWD,
        there.join("sub"),
        &rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 },
            last_modification: rustix::fs::Timespec { tv_sec: 1_000_000_000, tv_nsec: 123_456_789 },
        },
        rustix::fs::AtFlags::empty(),
    )
    .unwrap();

    cp(text(&there), at(&machine, "/data/in"))
        .run()
        .succeeds()
        .complains(&["Successfully copied", "/data/in"]);
    let seen = machine
        .exec("cd /data/in; stat -c %h large; stat -c '%a %u %Y' sub; readlink sub/link; du -m sparse")
        .succeeds();
    assert_eq!(seen.text(), "2\n710 0 1000000000\n../nowhere\n0\tsparse\n");

    let back = host.path().join("back");
    vmrun(["cp", "-q", &at(&machine, "/data/in"), text(&back)]).run().succeeds();
    let differs = std::process::Command::new("diff")
        .args(["-r", "--no-dereference", text(&there), text(&back)])
        .output();
    let differs = differs.unwrap();
    assert!(differs.status.success(), "{}", String::from_utf8_lossy(&differs.stdout));
    let seen = fs::metadata(back.join("sub")).unwrap();
    assert_eq!((seen.mode() & 0o7777, seen.mtime(), seen.mtime_nsec()), (0o710, 1_000_000_000, 123_456_789));
    assert_eq!(fs::metadata(back.join("large")).unwrap().nlink(), 2);
    assert!(fs::metadata(back.join("sparse")).unwrap().blocks() < 1000);
}

#[test]
fn copies_go_where_docker_puts_them() {
    let machine = Detached::run(&[], "busybox", IDLE);
    let host = tempfile::tempdir().unwrap();
    let here = |name: &str| text(host.path()).to_owned() + "/" + name;
    fs::create_dir(here("dir")).unwrap();
    fs::write(here("dir/file"), "content").unwrap();
    symlink("dir/file", here("link")).unwrap();
    machine.exec("mkdir /to; echo old >/to/old; ln -s /to /alias; ln -s old /to/linked").succeeds();
    let found = |script: &str| machine.exec(script).succeeds().text();

    for (from, to, then) in [
        ("dir/file", "/to/new", "/to/new"),
        ("dir/file", "/to", "/to/file"),
        ("dir/file", "alias/", "/to/file"),
        ("dir/file", "/to/old", "/to/old"),
        ("dir", "/to/made", "/to/made/file"),
        ("dir", "/to", "/to/dir/file"),
        ("dir/.", "/to/made", "/to/made/file"),
        ("dir/.", "/alias", "/to/file"),
    ] {
        cp(here(from), at(&machine, to)).run().succeeds();
        assert_eq!(found(&format!("cat {then}; rm {then}")), "content", "{from} to {to}");
    }
    // A link is copied as one, or as what it points to; what is copied over one goes to where it points.
    cp(here("link"), at(&machine, "/to/")).run().succeeds();
    assert_eq!(found("readlink /to/link; rm /to/link"), "dir/file\n");
    vmrun(["cp", "-L", &here("link"), &at(&machine, "/to/linked")]).run().succeeds();
    assert_eq!(found("readlink /to/linked; cat /to/old"), "old\ncontent");

    for (from, to, words) in [
        ("dir/file", "/nowhere/file", &["/nowhere", "No such file"][..]),
        ("dir/file", "/to/none/", &["/to/none/", "does not exist"]),
        ("dir", "/to/old", &["over the file"]),
        ("dir", "/etc/passwd/x", &["Not a directory"]),
        ("none", "/to", &["none", "No such file"]),
    ] {
        cp(here(from), at(&machine, to)).run().is_refused(words);
    }
    cp(at(&machine, "/none"), here("x")).run().is_refused(&["/none", "no such file"]);
    cp(at(&machine, "/to"), here("dir/file")).run().is_refused(&["over the file"]);
    cp(at(&machine, "/to/old"), here("none/x")).run().is_refused(&["none", "No such file"]);
    cp(at(&machine, "/to"), at(&machine, "/from")).run().is_refused(&["machine to machine"]);
    cp(here("dir"), here("x")).run().is_refused(&["MACHINE:PATH"]);
    cp("nobody-is-called-so:/x", here("x")).run().is_refused(&["nobody-is-called-so"]);
}

#[test]
fn owners_change_with_the_side_and_stay_with_a() {
    let machine = Detached::run(&[], "busybox", IDLE);
    machine.exec("echo x >/f; chown 1000:50 /f; chmod 6755 /f").succeeds();
    let host = tempfile::tempdir().unwrap();
    let file = host.path().join("f");
    let seen = |file: &Path| {
        let seen = fs::metadata(file).unwrap();
        (seen.uid(), seen.gid(), seen.mode() & 0o7777)
    };
    let (me, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    cp(at(&machine, "/f"), text(&file)).run().succeeds();
    assert_eq!(seen(&file), (me, group, 0o755));
    cp(text(&file), at(&machine, "/g")).run().succeeds();
    assert_eq!(machine.exec("stat -c '%u %g %a' /g").text(), "0 0 755\n");
    if me == 0 {
        vmrun(["cp", "-a", &at(&machine, "/f"), text(&file)]).run().succeeds();
        assert_eq!(seen(&file), (1000, 50, 0o6755));
        vmrun(["cp", "-a", text(&file), &at(&machine, "/h")]).run().succeeds();
        assert_eq!(machine.exec("stat -c '%u %g %a' /h").text(), "1000 50 6755\n");
    }
}

/// What is left out, or another process's for a while, costs nothing else its way.
#[test]
fn odd_files_do_not_keep_the_others() {
    let machine = Detached::run(&[], "busybox", IDLE);
    machine.exec("mkdir /d; mknod /d/a c 1 3; ln /d/a /d/b; echo content >/d/c; ln /d/c /d/e").succeeds();
    let host = tempfile::tempdir().unwrap();
    let seen = cp(at(&machine, "/d"), text(host.path())).run().succeeds();
    let warned = |text: &str| assert!(seen.stderr.contains(text), "{}", seen.stderr);
    warned("‘d/a’ is a device and was left out");
    warned("‘d/b’ is another name of a device and was left out");
    assert_eq!(fs::read_to_string(host.path().join("d/e")).unwrap(), "content\n");
    assert_eq!(fs::read_dir(host.path().join("d")).unwrap().count(), 2);
}

#[test]
fn archives_go_both_ways() {
    let machine = Detached::run(&[], "busybox", IDLE);
    machine.exec("mkdir -p /a/b; echo x >/a/b/c; chown 1000:50 /a/b/c; mkdir /to").succeeds();
    let archive = cp(at(&machine, "/a"), "-").run().succeeds().stdout;
    let names: Vec<_> = names(&archive);
    assert_eq!(names, ["a/", "a/b/", "a/b/c"]);
    cp("-", at(&machine, "/to")).stdin(archive).run().succeeds();
    assert_eq!(machine.exec("cat /to/a/b/c; stat -c '%u %g' /to/a/b/c").text(), "x\n1000 50\n");
    cp("-", at(&machine, "/none")).stdin("").run().is_refused(&["/none", "existing directory"]);
    cp("-", at(&machine, "/to")).stdin("no archive at all".repeat(100)).run().is_refused(&["archive"]);
}

#[test]
fn an_archive_does_not_leave_the_directory_it_is_unpacked_in() {
    let machine = Detached::run(&[], "busybox", IDLE);
    machine.exec("mkdir /to; cp /etc/passwd /before").succeeds();
    let entry = |name: &str, kind: tar::EntryType, link: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o777);
        header.set_size(content.len() as u64);
        header.set_cksum();
        let mut bytes = [header.as_bytes(), content].concat();
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    };
    use tar::EntryType::{Link, Regular, Symlink};
    let file = |name: &str| entry(name, Regular, "", b"bad\n");
    let unpack = |entries: &[Vec<u8>]| {
        let archive = [&entries.concat()[..], &[0; 1024]].concat();
        cp("-", at(&machine, "/to")).stdin(archive).run()
    };
    unpack(&[file("../etc/passwd")]).is_refused(&["../etc/passwd", "out of"]);
    unpack(&[entry("l", Symlink, "/etc", b""), file("l/passwd")]).is_refused(&["symbolic link"]);
    unpack(&[entry("m", Symlink, "../etc", b""), file("m/passwd")]).is_refused(&["symbolic link"]);
    unpack(&[entry("h", Link, "../etc/passwd", b""), file("h")]).is_refused(&["out of"]);
    unpack(&[entry("i", Symlink, "/etc", b""), entry("j", Link, "i/passwd", b""), file("j")])
        .is_refused(&["link"]);
    unpack(&[file("/etc/passwd")]).succeeds();
    assert_eq!(machine.exec("cmp /etc/passwd /before && cat /to/etc/passwd").text(), "bad\n");
}

#[test]
fn links_out_of_the_root_lead_to_the_machines_own_files() {
    let machine = Detached::run(&[], "busybox", IDLE);
    machine
        .exec("mkdir /d; ln -s ../../../../../../etc/passwd /d/up; ln -s /etc /d/etc; ln -s loop /d/loop")
        .succeeds();
    let host = tempfile::tempdir().unwrap();
    let passwd = host.path().join("passwd");
    vmrun(["cp", "-L", &at(&machine, "/d/up"), text(&passwd)]).run().succeeds();
    assert!(fs::read_to_string(&passwd).unwrap().contains("alice"));
    cp(at(&machine, "/d/etc/passwd"), text(&passwd)).run().succeeds();
    cp(at(&machine, "/d/../../../etc/passwd"), text(&passwd)).run().succeeds();
    assert!(fs::read_to_string(&passwd).unwrap().contains("alice"));
    vmrun(["cp", "-L", &at(&machine, "/d/loop"), text(&passwd)]).run().is_refused(&["symbolic links"]);

    // Links that a machine has sent are not gone through.
    let to = host.path().join("to");
    fs::create_dir(&to).unwrap();
    symlink(host.path(), to.join("d")).unwrap();
    cp(at(&machine, "/d"), text(&to)).run().is_refused(&["symbolic link"]);
    symlink(host.path(), to.join("x")).unwrap();
    machine.exec("mkdir -p /y/x; echo >/y/x/f").succeeds();
    cp(at(&machine, "/y/."), text(&to)).run().is_refused(&["link"]);
    assert!(!host.path().join("f").exists());
}

#[test]
fn files_that_change_meanwhile_are_copied_whole_or_with_a_word() {
    let script = "mkdir /busy; cd /busy; seq 1 300000 >a; echo up; while :; do seq 1 300000 >>a; : >a;
        mkdir -p d/e; echo x >d/e/f; rm -r d; done";
    let machine = Detached::shell(&[], "busybox", script);
    machine.logs("up");
    let host = tempfile::tempdir().unwrap();
    for round in 0..8 {
        let to = host.path().join(round.to_string());
        let outcome = cp(at(&machine, "/busy"), text(&to)).run().succeeds();
        assert!(to.join("a").exists(), "{}", outcome.stderr);
        let archive = vmrun(["export", &machine.id]).run().succeeds().stdout;
        assert!(names(&archive).contains(&"busy/a".to_owned()));
    }
}

#[test]
fn a_machine_without_sys_is_exported() {
    let machine = Detached::run(&[], "busybox", IDLE);
    machine.exec("umount -l /sys && rmdir /sys && echo kept >/kept").succeeds();
    let archive = vmrun(["export", &machine.id]).run().succeeds().stdout;
    let names = names(&archive);
    assert!(
        names.contains(&"kept".to_owned()) && !names.iter().any(|name| name.starts_with("sys")),
        "{names:?}"
    );
}

#[test]
fn full_disks_are_said_in_a_line() {
    let machine = Detached::run(&["--disk-size", "32m"], "busybox", IDLE);
    let host = tempfile::tempdir().unwrap();
    let large = host.path().join("large");
    fs::write(&large, vec![b'x'; 64 << 20]).unwrap();
    cp(text(&large), at(&machine, "/large")).run().is_refused(&["large", "No space left on device"]);
    machine.exec("rm /large; echo still there").succeeds().says(&["still there"]);
    vmrun(["export", "-o", "/dev/full", &machine.id]).run().is_refused(&["No space left on device"]);
}

#[test]
fn a_machine_that_does_not_run_takes_files_and_gives_them() {
    let script = "cat /added && echo written >/written && exit 7";
    let machine = Detached::create(&[], "busybox", &["sh", "-c", script]);
    let host = tempfile::tempdir().unwrap();
    let file = host.path().join("f");
    fs::write(&file, "from outside\n").unwrap();
    assert_eq!(machine.vmrun(&["diff"], &[]).run().succeeds().text(), "");
    cp(text(&file), at(&machine, "/added")).run().succeeds();
    assert_eq!(machine.inspect(".State.Status"), "created");
    assert_eq!(vmrun(["start", "-a", &machine.id]).run().exits_with(7).text(), "from outside\n");
    assert_eq!(machine.vmrun(&["diff"], &[]).run().succeeds().text(), "A /added\nA /written\n");
    cp(at(&machine, "/written"), text(&file)).run().succeeds();
    assert_eq!(fs::read_to_string(&file).unwrap(), "written\n");
    cp(at(&machine, "/none"), text(&file)).run().is_refused(&["no such file"]);

    let gone = Detached::run(&["--tmpfs-root"], "busybox", &["true"]);
    gone.becomes("exited");
    gone.vmrun(&["diff"], &[]).run().is_refused(&["--tmpfs-root"]);
}

#[test]
fn what_a_killed_machine_has_synced_is_there() {
    let script = "echo synced >/synced; sync; echo up; while :; do echo more >>/more; sync; done";
    let machine = Detached::shell(&[], "busybox", script);
    machine.logs("up");
    let processes = [".State.SupervisorPid", ".State.Pid"].map(|field| machine.inspect(field));
    for pid in processes {
        kill_process(pid.parse().ok().and_then(Pid::from_raw).unwrap(), Signal::KILL).unwrap();
    }
    machine.becomes("exited");
    let archive = cp(at(&machine, "/synced"), "-").run().succeeds().stdout;
    assert_eq!(names(&archive), ["synced"]);
    machine.vmrun(&["diff"], &[]).run().succeeds().says(&["A /more\nA /synced\n"]);
}

/// The names in an archive.
pub fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let name =
        |entry: std::io::Result<tar::Entry<'_, &[u8]>>| entry.unwrap().path().unwrap().display().to_string();
    archive.entries().unwrap().map(name).collect()
}
