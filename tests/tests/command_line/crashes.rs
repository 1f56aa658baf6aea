//! A `vmrun` that is killed at any moment leaves a store that the same command then completes.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{KERNEL, setting, vmrun};

use crate::image_file;

/// How often `make test` kills each command; `make test-long` does it a hundred times as often.
const ROUNDS: u32 = 6;

fn rounds() -> u32 {
    if std::env::var("VMRUN_TEST_LONG").is_ok_and(|long| !long.is_empty()) { ROUNDS * 100 } else { ROUNDS }
}

/// Kills `words` at moments spread over the time that it takes, each time on what the time before
/// left, and now and then lets it end; `look` tells what the store then has.
fn survives(words: &[OsString], look: impl Fn(&Path) -> Vec<u8>) {
    let expected = {
        let home = tempfile::tempdir().unwrap();
        vmrun(words).home(home.path()).run().succeeds();
        look(home.path())
    };
    let mut home = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    vmrun(words).home(home.path()).run().succeeds();
    let whole = begun.elapsed();
    assert!(look(home.path()) == expected);
    home = tempfile::tempdir().unwrap();
    let rounds = rounds();
    for round in 0..rounds {
        let running = vmrun(words).home(home.path()).start();
        thread::sleep(moment(whole, round, rounds));
        running.signal(Signal::KILL);
        let code = running.wait().code();
        assert!(code == 128 + 9 || code == 0, "round {round}: {code}");
        if round % 3 == 2 {
            vmrun(words).home(home.path()).run().succeeds();
            assert!(look(home.path()) == expected, "round {round}: what is there is what was to be there");
            let unfinished = fs::read_dir(home.path().join("tmp")).map_or(0, |entries| entries.count());
            assert_eq!(unfinished, 0, "round {round}: what was left unfinished is removed");
            home = tempfile::tempdir().unwrap();
        }
    }
}

/// Moments in an order that is no order, so that each third of the rounds meets all of the time.
fn moment(whole: Duration, round: u32, rounds: u32) -> Duration {
    let place = (u64::from(round) * 61 + 17) % u64::from(rounds.max(1));
    whole.mul_f64((place as f64 + 0.5) / f64::from(rounds))
}

#[test]
fn load_survives_being_killed() {
    let path = image_file("layered.oci.tar").into_os_string();
    let words = ["load".into(), "--quiet".into(), "-i".into(), path, "--name".into(), "it".into()];
    survives(&words, rootfs);
}

#[test]
fn import_survives_being_killed() {
    let path = image_file("busybox.tar").into_os_string();
    survives(&["import".into(), "--quiet".into(), path, "it".into()], rootfs);
}

#[test]
fn kernel_add_survives_being_killed() {
    let kernels = Path::new(&setting("VMRUN_HOME")).join("kernels");
    let vmlinux = kernels.join(KERNEL).join("vmlinux").into_os_string();
    survives(&["kernel".into(), "add".into(), vmlinux, "--name".into(), "it".into()], |home| {
        let listed = vmrun(["kernel", "ls"]).home(home).run().succeeds().stdout;
        [listed, fs::read(home.join("kernels/it/vmlinux")).unwrap()].concat()
    });
}

/// The image's disk.
fn rootfs(home: &Path) -> Vec<u8> {
    let file = home.join("exported");
    vmrun(["rootfs".as_ref(), "-o".as_ref(), file.as_os_str(), "it".as_ref()]).home(home).run().succeeds();
    fs::read(file).unwrap()
}
