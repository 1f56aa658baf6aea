//! Mistakes and malice from the host's side of a machine: wrong names, wrong states, garbage, a full disk.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::{Detached, setting, vmrun};

#[test]
fn names_that_are_nearly_right_are_suggested() {
    let one = Detached::create(&["--name", "database"], "busybox", &["true"]);
    let other = Detached::create(&[], "busybox", &["true"]);
    vmrun(["start", "databse"]).run().is_refused(&["databse", "did you mean 'database'"]);
    vmrun(["stop", "quite-another"]).run().is_refused(&["quite-another", "ps -a"]);
    vmrun(["create", "--name", "database", "busybox"]).run().is_refused(&["in use", &one.id]);
    vmrun(["create", "--name", "a/b", "busybox"]).run().is_refused(&["cannot be a machine's name"]);
    vmrun(["rename", &other.id, "database"]).run().is_refused(&["in use"]);
    assert_eq!(
        vmrun(["inspect", "--format", "{{.Id}}", &one.id[..6]]).run().succeeds().text().trim(),
        one.id
    );
    // Sixteen more than there are digits: two of them begin alike.
    let crowd: Vec<_> = (0..17).map(|_| Detached::create(&["--tmpfs-root"], "busybox", &["true"])).collect();
    let alike = |digit: char| crowd.iter().filter(|machine| machine.id.starts_with(digit)).count() > 1;
    let digit = "0123456789abcdef".chars().find(|digit| alike(*digit)).unwrap();
    vmrun(["rm", &digit.to_string()]).run().is_refused(&["several machines"]);
}

#[test]
fn commands_in_the_wrong_state_say_so() {
    let machine = Detached::create(&[], "busybox", &["true"]);
    for verb in [&["exec"][..], &["attach"], &["kill"], &["pause"], &["unpause"]] {
        let more: &[&str] = if verb == ["exec"] { &["true"] } else { &[] };
        machine.vmrun(verb, more).run().is_refused(&["created"]);
    }
    machine.vmrun(&["stop"], &[]).run().succeeds();
    assert_eq!(machine.vmrun(&["wait"], &[]).run().succeeds().text(), "0\n");
    assert_eq!(machine.vmrun(&["logs"], &[]).run().succeeds().text(), "");
    machine.vmrun(&["logs", "--kernel-log"], &[]).run().is_refused(&["no kernel log"]);
    vmrun(["run", "--rm", "--restart", "always", "busybox"]).run().is_refused(&["--rm", "--restart"]);
    vmrun(["run", "--stop-signal", "SIGNOT", "busybox"]).run().is_refused(&["SIGNOT"]);
    vmrun(["run", "--disk-size", "1m", "busybox"]).run().is_refused(&["16m"]);
    vmrun(["rmi", "-f", "busybox"]).run().is_refused(&["in use"]);
}

#[test]
fn garbage_on_the_sockets_harms_nobody() {
    let machine = Detached::run(&[], "busybox", &["sleep", "100000"]);
    let runtime = Path::new("/run/vmrun").join(&machine.id);
    let mut random = fs::File::open("/dev/urandom").unwrap();
    for socket in ["control.sock", "vsock.sock"] {
        for round in 0..60 {
            let mut garbage = vec![0; 1 + round * 40];
            random.read_exact(&mut garbage).unwrap();
            if round % 3 == 0 {
                // A frame of a length that can be, and nothing sensible in it: by chance, it would be a wish.
                garbage[0] = 0xff;
                let length = (garbage.len() as u32).to_le_bytes();
                garbage.splice(0..0, length);
            }
            if socket == "vsock.sock" && round % 2 == 0 {
                garbage.splice(0..0, *b"CONNECT 1\n");
            }
            let mut stream = UnixStream::connect(runtime.join(socket)).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let _ = stream.write_all(&garbage);
            let _ = stream.read(&mut [0; 64]);
        }
    }
    assert_eq!(machine.exec("echo alive").succeeds().text(), "alive\n");
    machine.vmrun(&["stop", "-t", "0"], &[]).run().succeeds();
}

/// How far a machine has come is told once a step, whatever else its guest writes to the port that tells it; and who
/// attends the machine has time for those who ask for something.
#[test]
fn a_guest_that_stamps_without_end_is_stopped_as_any_other() {
    let machine = Detached::run(&[], "busybox", &["probe", "stamp"]);
    machine.logs("stamping");
    assert_eq!(machine.exec("sleep 2; echo alive").succeeds().text(), "alive\n");
    let events = fs::read_to_string(Path::new(&setting("VMRUN_HOME")).join("events.log")).unwrap();
    let starts = |line: &&str| line.contains("\"start\"") && line.contains(&machine.id[..12]);
    assert_eq!(events.lines().filter(starts).count(), 1);
    machine.vmrun(&["stop", "-t", "1"], &[]).patience(Duration::from_secs(20)).run().succeeds();
    machine.becomes("exited");
}

/// The state directory is on a file system of its own, which the guest fills.
#[test]
fn a_full_disk_on_the_host_is_an_error_in_the_guest_and_not_its_end() {
    let home = SmallHome::new("40m");
    let machine = Detached::run_in(&home.path, &[], "busybox", &["sleep", "100000"]);
    machine.exec("echo kept >/root/kept; sync /root/kept").succeeds();
    let filled = machine.exec("dd if=/dev/zero of=/big bs=1M count=64 conv=fsync").exits_with(1);
    filled.complains(&["Input/output error"]);
    assert_eq!(machine.inspect(".State.Status"), "running");
    machine.exec("cat /root/kept").succeeds().says(&["kept"]);

    // There is room again, and the file system, which gave up, is repaired where it is mounted anew.
    home.resize("200m");
    machine.vmrun(&["restart", "-t", "0"], &[]).run().succeeds();
    let again = "cat /root/kept; dd if=/dev/zero of=/more bs=1M count=8 conv=fsync && echo written";
    machine.exec(again).succeeds().says(&["kept", "written"]);
}

/// A state directory with the tests' images and kernels, and little room for machines.
struct SmallHome {
    path: String,
}

impl SmallHome {
    fn new(size: &str) -> SmallHome {
        let path = "/tmp/small-home".to_owned();
        fs::create_dir_all(&path).unwrap();
        let options = format!("size={size}");
        succeeds(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "small", &path]));
        for part in ["images", "kernels", "layers", "locks", "oci", "tmp"] {
            let theirs = Path::new(&setting("VMRUN_HOME")).join(part);
            std::os::unix::fs::symlink(theirs, Path::new(&path).join(part)).unwrap();
        }
        SmallHome { path }
    }

    fn resize(&self, size: &str) {
        succeeds(Command::new("mount").args(["-o", &format!("remount,size={size}"), &self.path]));
    }
}

impl Drop for SmallHome {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", &self.path]).status();
    }
}

fn succeeds(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}
